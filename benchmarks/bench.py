"""The same as `hypertail bench`; options follow the file name, or stand in BENCH_ARGS for `make bench`."""

import sys

from hypertail.cli import main

if __name__ == "__main__":
    main(["bench", *sys.argv[1:]])
