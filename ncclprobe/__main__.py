"""Run the command line as ``python -m ncclprobe``."""

from ncclprobe.cli import main

if __name__ == "__main__":
    main()
