"""A shop of three models and what its shoppers bought: enough to see a release gate hold, and not hold.

    python shop.py                                                       # writes before.csv, bought.csv, items.csv
    incumbent evaluate --gate release.gate.toml                          # favourites against bestsellers: released
    incumbent evaluate --gate release.gate.toml --candidate shop:daring  # not released, exit code 6
    pytest release.gate.toml                                             # each expectation is a test
"""

import csv
import random
from pathlib import Path

KINDS = ("book", "film", "game", "song")
CATALOGUE = {f"{kind}-{number:02}": kind for kind in KINDS for number in range(1, 26)}
SALES = {item: 1000 // (1 + int(item[-2:]) + KINDS.index(kind)) for item, kind in CATALOGUE.items()}


def bestsellers(request, k):
    """The champion: what sells best, without what the shopper excludes."""
    items = [item for item in sorted(SALES, key=lambda item: (-SALES[item], item)) if item not in request.exclude]
    return [(item, float(SALES[item])) for item in items[:k]]


def favourites(request, k):
    """A candidate: the same, with the shopper's favourite kind in front; nobody's favourite where it is not known."""
    kind = request.context.get("favourite")
    ranked = bestsellers(request, len(CATALOGUE))
    return sorted(ranked, key=lambda pair: (CATALOGUE[pair[0]] != kind, -pair[1], pair[0]))[:k]


def daring(request, k):
    """A candidate that should not be released: the least sold first, an item that nobody sells, no exclusions."""
    return [("mystery-box", None), *((item, None) for item in sorted(SALES, key=SALES.__getitem__)[: k - 1])]


def shoppers(seed=1, users=400):
    """Rows of (user_id, item_id, favourite, country): two thirds of the favourite kind, what is popular more often."""
    draw = random.Random(seed)
    for n in range(users):
        favourite, country = draw.choice(KINDS), draw.choice(("DE", "FR", "IT"))
        for _ in range(draw.randint(1, 6)):
            kind = favourite if draw.random() < 2 / 3 else draw.choice(KINDS)
            item = draw.choices([i for i in CATALOGUE if CATALOGUE[i] == kind], [SALES[i] for i in CATALOGUE
                                                                               if CATALOGUE[i] == kind])[0]
            yield f"shopper-{n:03}", item, favourite, country


def write(folder=Path()):
    """The three tables: what was bought before (another draw), what was bought in the period, and everything sold."""
    tables = {"before.csv": (("user_id", "item_id"), [row[:2] for row in shoppers(seed=2)]),
              "bought.csv": (("user_id", "item_id", "favourite", "country"), list(shoppers())),
              "items.csv": (("item_id", "category"), list(CATALOGUE.items()))}
    for name, (columns, rows) in tables.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([columns, *rows])


if __name__ == "__main__":
    write(Path(__file__).parent)
    print("wrote before.csv, bought.csv and items.csv")
