"""`python -m hypertail` does the same as `hypertail`."""

from hypertail.cli import main

if __name__ == "__main__":
    main()
