"""The vehicle half on arm64 Linux without a board: see ``make arm64`` and docs/boards.md."""
