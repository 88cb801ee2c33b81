"""Write every golden text again: `python -m tests.golden`. Look at the difference before you commit it."""

from tests.golden import golden_configs, golden_curves


def main() -> None:
    """Replace the files in place."""
    for made in (golden_configs, golden_curves):
        for name, text in made.texts().items():
            (made.FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
