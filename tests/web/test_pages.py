"""The pages in a real browser: they open, filter, fold and compare, say nothing on the console and ask
nothing of another machine.
"""

import os
import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.sync_api import sync_playwright

from report_data import exam, whole_run, write
from surpass.report import write_report
from surpass.store import Store, trees_to_table
from surpass.types import DONE, LENGTH, Column, Problem, Tree
from surpass.view import Viewer
from surpass.view.server import Handler

CHROMIUM = os.environ.get("SURPASS_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ABOUT = {
    "format": 2,
    "name": "grpo",
    "seed": 7,
    "task": {"part": "surpass.tasks.arithmetic"},
    "method": {"scores": {"reward": {}}},
}


def tree_of(i, attempts=8):
    tree = Tree(Problem(f"p{i}", f"what is problem {i}?", i), i)
    tree.add(-1, "task", [1], text=f"what is problem {i}?")
    for j in range(attempts):
        tree.add(0, "policy", [2, 3, 4], logp=[-0.1, -3.0, -0.2], stop=LENGTH if j == 7 else DONE)
    tree.put("reward", Column("leaf", np.array([float((i + j) % 4 == 0) for j in range(attempts)])))
    return tree


def searched():
    """A tree of three levels with visits and values, and text of its own."""
    tree = Tree(Problem("s", "search here", "42"), 5)
    tree.add(-1, "task", [1], text="search here")
    for parent in (0, 0, 1, 1, 2, 2):
        tree.add(
            parent, "policy", [2], logp=[-1.0], text=f"step after {parent}. ", stop=DONE if parent else 0
        )
    tree.put("reward", Column("leaf", np.array([0.0, 1.0, 0.0, 0.5])))
    tree.put("visits", Column("node", np.array([8.0, 5, 3, 1, 4, 2, 1])))
    tree.put("q", Column("node", np.array([0.4, 0.5, 0.25, 0, 1, 0, 0.5])))
    return tree


def chosen(tree, leaf):
    tree.put(
        "chosen",
        Column(
            "leaf",
            np.array(
                [tree.get("reward").values[i] if i == leaf else np.nan for i in range(len(tree.leaves()))]
            ),
        ),
    )
    return tree


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    import pyarrow.parquet as pq

    root = tmp_path_factory.mktemp("runs")
    big = write(root / "big", whole_run(), [searched()], run=ABOUT)
    trees = [searched(), *(tree_of(i) for i in range(1250))]
    pq.write_table(trees_to_table(trees), big / "trees" / "0001.parquet")
    other = write(root / "other", whole_run(), [tree_of(1)], run=ABOUT | {"name": "star"})
    for folder, after in ((big, 1), (other, 0)):
        store = Store(folder)
        store.write_texts(
            1, [{}, *({j: ["Answer:", f" {i}", "!"] for j in range(1, 9)} for i in range(1250))]
        )
        for round, leaf in ((0, 0), (3, after)):
            exams = [chosen(asked_again(i), leaf) for i in range(10)]
            store.write_exam(
                round, exams, [{j: ["I ", "say ", f"{round}"] for j in range(1, 9)} for _ in exams]
            )
        store.close()
    return root


def asked_again(i):
    tree = tree_of(i)
    tree.problem = Problem(f"test{i}", f"test problem {i}", i)
    return tree


@pytest.fixture(scope="session")
def server(root):
    server = Viewer(root)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.fail(
            "there is no Chromium: install it (apt-get install chromium), or name one in SURPASS_CHROMIUM"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that must stay silent and at home."""
    context = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme="light")
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked_for: asked.append(asked_for.url))
    page.set_default_timeout(10_000)
    yield page
    context.close()
    assert said == []
    assert [
        url for url in asked if not url.startswith(("http://127.0.0.1:", "file://", "data:", "blob:"))
    ] == []


def opened(page, server, name="big"):
    page.goto(f"{server.address}run?name={name}")
    page.wait_for_selector("#list .rows .row")
    return page


def rows(page, place="#list"):
    return page.locator(f"{place} .rows .row")


def count(page):
    page.wait_for_timeout(400)  # typing is waited for
    return page.locator("#count").inner_text()


def test_the_list_of_runs_leads_to_each_and_to_two_side_by_side(page, server):
    page.goto(server.address)
    assert page.locator("tbody tr").count() == 2 and page.locator("#pair").is_disabled()
    for box in page.locator("input[name=pair]").all():
        box.check()
    page.locator("#pair").click()
    page.wait_for_selector("#changed .rows .row")
    assert "Side by side" in page.inner_text("h1") and page.locator("figure > svg").count() == 1
    assert "Of 10 problems the first is better on 0, the second on 0" in page.inner_text("main")
    rows(page, "#changed").nth(3).click()
    page.wait_for_selector("#two pre.text")
    texts = page.locator("#two pre.text").all_inner_texts()
    assert len(texts) == 2 and all("I say 3" in text for text in texts)
    page.go_back()
    page.get_by_role("link", name="big").click()
    page.wait_for_selector("#list .rows .row")


def test_ten_thousand_attempts_are_a_short_list_on_the_page(page, server):
    opened(page, server)
    assert count(page) == "10,012 attempts"
    assert rows(page).count() < 60
    page.locator("#list .view").focus()
    page.keyboard.press("End")
    page.wait_for_selector('#list .row.chosen[data-index="10011"]')
    page.wait_for_selector("#panel pre.text")
    assert rows(page).count() < 60
    page.keyboard.press("Home")
    page.wait_for_selector('#list .row.chosen[data-index="0"]')


def test_filters_and_sorting(page, server):
    opened(page, server)
    page.fill("input[name=low]", "1")
    assert count(page).startswith("2,50") and count(page).endswith("of 10,012 attempts")
    assert set(rows(page).locator("span:nth-child(2)").all_inner_texts()) == {"1"}
    page.fill("input[name=text]", "problem 77?")
    assert count(page) == "2 of 10,012 attempts"
    page.locator("button[type=reset]").click()
    assert count(page) == "10,012 attempts"
    page.select_option("select[name=stop]", "length")
    assert count(page) == "1,250 of 10,012 attempts"
    page.locator("button[type=reset]").click()
    page.get_by_role("button", name="Score").click()
    page.wait_for_timeout(300)
    assert set(rows(page).locator("span:nth-child(2)").all_inner_texts()) == {"1"}, "the best first"
    page.get_by_role("button", name="Score").click()
    page.wait_for_timeout(300)
    assert set(rows(page).locator("span:nth-child(2)").all_inner_texts()) == {"0"}


def test_tokens_are_coloured_by_what_is_chosen(page, server):
    opened(page, server)
    page.fill("input[name=text]", "problem 77?")
    count(page)
    rows(page).first.click()
    tokens = page.locator("#panel pre.text .token")
    page.wait_for_selector("#panel pre.text .token")
    assert tokens.all_inner_texts() == ["Answer:", " 77", "!"]
    assert [token.get_attribute("title") for token in tokens.all()] == [
        "log p −0.1, p 0.905",
        "log p −3, p 0.0498",
        "log p −0.2, p 0.819",
    ]
    strength = [token.evaluate("e => e.style.getPropertyValue('--s')") for token in tokens.all()]
    assert strength == ["1%", "33%", "2%"]
    page.select_option("#panel select", "reward")
    assert tokens.first.get_attribute("title").startswith("reward ")
    page.select_option("#panel select", "")
    assert tokens.count() == 0 and "Answer: 77!" in page.inner_text("#panel pre.text")


def test_a_tree_folds_by_mouse_and_by_keyboard_and_its_path_is_marked(page, server):
    opened(page, server)
    rows(page).first.click()
    page.wait_for_selector("#panel svg .node")
    nodes = page.locator("#panel svg .node")
    assert nodes.count() == 7 and page.locator("#panel svg .node.taken").count() == 3
    inner = page.locator('#panel [data-node="2"]')
    assert inner.get_attribute("aria-expanded") == "true" and "visits 3, q 0.25" in inner.get_attribute(
        "aria-label"
    )
    inner.click()
    assert (
        nodes.count() == 5
        and page.locator('#panel [data-node="2"]').get_attribute("aria-expanded") == "false"
    )
    page.locator('#panel [data-node="2"]').focus()
    page.keyboard.press("Enter")
    assert nodes.count() == 7 and page.evaluate("document.activeElement.dataset.node") == "2", (
        "the focus stays"
    )
    page.locator('#panel [data-node="4"]').click()
    assert "step after 0. step after 1." in page.inner_text("#panel pre.text").replace("◦", "")
    assert "reward 1" in page.inner_text("#panel .facts")


def test_before_and_after_on_the_same_problem(page, server):
    opened(page, server)
    place = page.locator("#changes")
    place.get_by_role("button", name="better after (6)").click()
    page.wait_for_timeout(300)
    assert rows(page, "#changed").count() == 6
    page.locator("#changed .view").focus()
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#two pre.text")
    texts = page.locator("#two pre.text").all_inner_texts()
    assert "I say 0" in texts[0] and "I say 3" in texts[1]


def test_a_run_that_goes_on_is_followed(page, server, root):
    going = write(
        root / "going",
        [exam(0, "test", range(2), 10), exam(0, "gate", range(2), 10)],
        [tree_of(1)],
        run=ABOUT,
    )
    store = Store(going)
    opened(page, server, "going")
    page.wait_for_selector(".state.running")
    assert "0 of" not in count(page) and "The run is not finished" in page.inner_text("#summary")
    store.events(
        [
            {"event": "gate", "round": 3, "keep": True, "why": "because it is better", "p": 1.0},
            exam(3, "test", range(9), 10),
            {"event": "end", "round": 3, "kept": 3, "why": ""},
        ]
    )
    store.close()
    page.wait_for_selector("#decisions tr.kept")
    assert "rose by" in page.inner_text("#summary") and page.inner_text("#state") == "finished"
    shutil.rmtree(going)


def test_a_phone_and_the_dark(browser, server):
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page = opened(context.new_page(), server)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out"
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, light.removeprefix("rgb(").removesuffix(")").split(","))) < 60
    context.close()


def test_the_static_report_opens_from_disk(page, root):
    page.goto(write_report(root / "big").as_uri())
    assert "Test accuracy before" in page.inner_text("main")
    page.locator("#open").click()
    assert page.locator("details.problem[open]").count() == page.locator("details.problem").count()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Nothing is printed."""


def test_a_page_elsewhere_cannot_read_runs(browser, server, monkeypatch, tmp_path):
    """Another origin's page that knows the address still gets nothing: every one of its requests is answered
    with 403.
    """
    answered = []
    send = Handler._send
    monkeypatch.setattr(
        Handler,
        "_send",
        lambda self, status, *rest: (answered.append((self.path, int(status))), send(self, status, *rest))[1],
    )
    context = browser.new_context()
    page = context.new_page()
    (tmp_path / "index.html").write_text("<p>elsewhere</p>")
    # another port is another origin
    elsewhere = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    page.goto(f"http://127.0.0.1:{elsewhere.server_port}/")
    got = page.evaluate(
        "(url) => fetch(url).then((r) => r.text()).catch((e) => 'refused')", f"{server.address}stamp?name=big"
    )
    assert got == "refused"
    for tag, attribute, path in (
        ("iframe", "src", "run?name=big"),
        ("script", "src", "view.js"),
        ("img", "src", "attempts?name=big"),
    ):
        page.evaluate(
            """([tag, attribute, url]) => new Promise((done) => { const made = document.createElement(tag); made.onload = made.onerror = done;
          made[attribute] = url; document.body.append(made); })""",  # noqa: E501
            [tag, attribute, f"{server.address}{path}"],
        )
    asked = [(path.partition(server.token + "/")[2], status) for path, status in answered]
    assert {path for path, _ in asked} >= {"run?name=big", "view.js", "attempts?name=big"} and {
        status for _, status in asked
    } == {403}
    context.close()


def test_a_text_that_came_whole_is_not_coloured_by_token(page, server, root):
    """As runs had it before pieces were stored."""
    old = write(
        root / "old",
        whole_run(),
        [tree_of(1)],
        [{"tree": 0, "nodes": {str(j): "Answer: 3" for j in range(1, 9)}}],
        run=ABOUT,
    )
    opened(page, server, "old")
    rows(page).first.click()
    page.wait_for_selector("#panel pre.text")
    assert page.inner_text("#panel pre.text") == "Answer: 3" and page.locator("#panel .token").count() == 0
    shutil.rmtree(old)


def test_an_attempts_score_colours_every_token_drawn_in_it(page, server, root):
    tree = Tree(Problem("t", "two turns", None), 1)
    tree.add(-1, "task", [1], text="two turns")
    tree.add(0, "policy", [2], logp=[-1.0], text="call x")
    tree.add(1, "task", [3], text="told")
    tree.add(2, "policy", [4], logp=[-1.0], stop=DONE, text="done")
    tree.put("reward", Column("leaf", np.array([1.0])))
    turns = write(root / "turns", whole_run(), [tree], run=ABOUT)
    opened(page, server, "turns")
    rows(page).first.click()
    page.wait_for_selector("#panel select")
    page.select_option("#panel select", "reward")
    assert page.locator("#panel .token").all_inner_texts() == ["call x", "done"], (
        "what was drawn, and nothing that was told"
    )
    shutil.rmtree(turns)


def test_the_chosen_attempt_is_in_the_picture_of_a_large_tree(page, server, root):
    tree, waiting = Tree(Problem("d", "deep", None), 1), [0]
    tree.add(-1, "task", [1], text="deep")
    for _ in range(5):
        waiting = [
            tree.add(at, "policy", [2], logp=[-1.0], text="s ", stop=DONE) for at in waiting for _ in range(3)
        ]
    tree.put("reward", Column("leaf", np.zeros(len(tree.leaves()))))
    deep = write(root / "deep", whole_run(), [tree], run=ABOUT)
    opened(page, server, "deep")
    rows(page).nth(5).click()
    page.wait_for_selector("#panel svg .node")
    assert (
        page.locator("#panel svg .node.taken").count() == 6 and page.locator("#panel svg .node").count() < 100
    )
    shutil.rmtree(deep)
