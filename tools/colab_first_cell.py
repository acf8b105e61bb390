# Run this cell first. It installs the book's small package `helpers`, in the version of this page, and leaves the torch
# and numpy that are here as they are.
import importlib
import importlib.metadata as packages
import importlib.util
import json
import re
import subprocess
import sys

PACKAGE = "deep-learning-worked-out"
ADDRESS = "{ADDRESS}"
COMMIT = "{COMMIT}"
ALSO = ["{ALSO}"]  # packages of others that this chapter shows; installed without what they ask for themselves


def installed_commit():
    try:
        origin = packages.distribution(PACKAGE).read_text("direct_url.json")
    except packages.PackageNotFoundError:
        return None
    return json.loads(origin or "{}").get("vcs_info", {}).get("commit_id")


def pip_install(*what):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr + done.stdout).strip() or "nothing"
        reasons = re.findall(r"^\s*(fatal: .*)", said, re.MULTILINE) + re.findall(r"^ERROR: .*", said, re.MULTILINE)
        reason = (reasons or said.splitlines()[-1:])[0]
        raise RuntimeError(
            "The book's helpers could not be installed. Check that this machine has a network connection, then run "
            f"this cell again. (pip said: {reason})"
        )


def missing_packages(lines):
    def plain(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    present = {plain(found.metadata["Name"] or "") for found in packages.distributions()}
    return [line for line in lines if plain(re.match(r"[\w.-]+", line)[0]) not in present]


def install():
    if installed_commit() == COMMIT and importlib.util.find_spec("helpers") and not missing_packages(ALSO):
        print("The book's helpers are installed already.")
        return
    pip_install("--no-deps", "--force-reinstall", f"git+{ADDRESS}@{COMMIT}")
    for name in [name for name in sys.modules if name.split(".")[0] == "helpers"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    if needed := missing_packages(line for line in packages.requires(PACKAGE) or [] if "extra ==" not in line):
        pip_install(*needed)
    if shown := missing_packages(ALSO):
        pip_install("--no-deps", *shown)
    print(f"Installed the book's helpers, version {COMMIT[:7]}.")


if __name__ == "__main__":
    install()
