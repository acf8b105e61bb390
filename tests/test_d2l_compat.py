"""d2l draws, in a fresh interpreter, next to the installed IPython."""

import subprocess
import sys


def test_d2l_plots_next_to_todays_ipython():
    code = (
        "import matplotlib; matplotlib.use('Agg')\n"
        "from helpers import d2l_compat\n"
        "d2l = d2l_compat.load()\n"
        "import torch\n"
        "x = torch.arange(0, 3, 0.5)\n"
        "d2l.plot(x, [x**2], 'x', 'f(x)')\n"
        "line = d2l.plt.gca().lines[0]\n"
        "assert line.get_ydata()[-1] == 6.25, line.get_ydata()\n"
        "print(d2l.train_2d is not None)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().endswith("True")
