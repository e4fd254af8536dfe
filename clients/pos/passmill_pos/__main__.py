"""`python -m passmill_pos` and the `passmill-pos` command."""

from passmill_pos.command import main

if __name__ == "__main__":
    main()
