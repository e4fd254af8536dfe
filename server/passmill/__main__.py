"""`python -m passmill` and the `passmill` command."""

from passmill.cli.main import main

if __name__ == "__main__":
    main()
