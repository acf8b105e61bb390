"""How `jupyter_client` gets its kernels from the nursery; loaded by it under the name in `tools.warm_kernels`."""

from __future__ import annotations

import os
import sys
from typing import Any

from jupyter_client.provisioning import LocalProvisioner

from tools.warm_kernels import Nursery

_OURS = [sys.executable, "-m", "ipykernel_launcher"]


class WarmProvisioner(LocalProvisioner):
    """A local kernel that is forked instead of started; a kernel of another interpreter starts as usual."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        if cmd[: len(_OURS)] != _OURS:
            return await super().launch_kernel(cmd, **kwargs)
        env = kwargs.get("env") or dict(os.environ)
        self.process = Nursery.running().fork(cmd[len(_OURS) :], kwargs.get("cwd"), env)
        self.pid = self.pgid = self.process.pid  # it leads a process group of its own
        return self.connection_info
