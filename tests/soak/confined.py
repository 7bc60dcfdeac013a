"""Run a command with so many bytes of memory: `python confined.py BYTES COMMAND…`.

RLIMIT_DATA: all that a process may write to and share with nobody, stacks apart. A cgroup would count the page cache
too, but needs root and a writable tree; RLIMIT_AS would count 64 MB of addresses for each thread's arena.
"""

import os
import resource
import sys

if __name__ == "__main__":
    most = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    os.execvp(sys.argv[2], sys.argv[2:])
