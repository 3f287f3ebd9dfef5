"""Processes that die on order: each order is one process's, and who has none lives."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from incumbent.testing.armed import Order, Orders

READING = "before:incumbent.service.parts.read_assignment"


def part(orders):
    return subprocess.run([sys.executable, "-m", "incumbent.testing.armed", str(orders.path), "part", "front", "0"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


def test_a_process_dies_at_its_order_and_the_next_one_lives(tmp_path):
    orders = Orders(tmp_path / "gateway")
    orders.give([Order(READING)])
    assert part(orders).returncode == -signal.SIGKILL
    assert orders.deaths == {READING: 1} and orders.waiting == 0
    unarmed = part(orders)
    assert unarmed.returncode > 0 and "no assignment on standard input" in unarmed.stderr
    assert orders.deaths == {READING: 1}


def test_no_order_is_taken_twice(tmp_path):
    orders = Orders(tmp_path / "loop")
    given = [Order(f"before:m.f{n}", n) for n in range(1, 41)]
    orders.give(given)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: Orders(orders.path).take(), range(45)))
    assert sorted(order.nth for order in taken if order) == list(range(1, 41)) and taken.count(None) == 5
    assert orders.held_by(os.getpid()) == "" and orders.held_by(1) is None


def test_who_took_which_order_is_on_record(tmp_path):
    """So that an order whose process died of something else can be given again."""
    orders = Orders(tmp_path / "gateway")
    orders.give([Order(READING, 2)])  # it is passed once only: the process ends of something else
    process = subprocess.Popen([sys.executable, "-m", "incumbent.testing.armed", str(orders.path), "part", "front",
                                "0"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.wait(120) > 0
    assert orders.held_by(process.pid) == READING and not orders.deaths and orders.waiting == 0
