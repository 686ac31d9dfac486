"""Damaged YAML texts without end: `python -m tests.campaign.yamls --trials 2000000`.

The trials that CI makes 200,000 of, with another seed: bytes and tokens of the documents' examples damaged, through the
loader and the schema.
"""

from __future__ import annotations

from functools import partial

from tests.campaign import series
from tests.support import document_trials

CAMPAIGN = "yamls"
SEED = "yamls-20261126"


def main() -> None:
    """Go on until the ledger has as many texts as asked for, or the time is up."""
    args = series.arguments(__doc__, 2_000_000, 2_000)
    series.run(CAMPAIGN, SEED, partial(document_trials.yaml_trials, seed=SEED), args)


if __name__ == "__main__":
    main()
