"""Future trees: when they are complete, and what is left of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy.vm import Combinator, Failure, Node, Result, Tree
from understudy.vm.awaits import is_complete, leaves, shave

OK: Result = ("value", b"1")
BAD: Result = ("failure", Failure(500, "no"))
FIRST, ALL = Combinator.FIRST_COMPLETED, Combinator.ALL_COMPLETED
ANY_OK, ALL_OK = Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED, Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED


@pytest.mark.parametrize(
    ("combinator", "ready", "complete"),
    [
        (FIRST, {}, False),
        (FIRST, {2: OK}, True),
        (FIRST, {2: BAD}, True),
        (ALL, {1: OK}, False),
        (ALL, {1: OK, 2: BAD}, True),
        (ANY_OK, {1: BAD}, False),
        (ANY_OK, {2: OK}, True),
        (ANY_OK, {1: BAD, 2: BAD}, True),
        (ALL_OK, {1: OK}, False),
        (ALL_OK, {2: BAD}, True),
        (ALL_OK, {1: OK, 2: OK}, True),
    ],
)
def test_when_a_combinator_is_complete(combinator: Combinator, ready: dict[int | str, Result], complete: bool) -> None:
    assert is_complete(Node(combinator, (1, 2)), ready) is complete


def test_what_is_left_of_a_gather_is_what_is_not_complete() -> None:
    assert shave(Node(ALL, (2, 4, 5)), {4: OK}) == Node(ALL, (2, 5))
    assert shave(Node(ALL, (2,)), {2: OK}) is None


def test_leaves_come_parent_first() -> None:
    tree = Node(FIRST, (Node(ALL, (2, "go", Node(FIRST, (9,)))), -1, 7))
    assert list(leaves(tree)) == [-1, 7, 2, "go", 9]


keys = st.one_of(st.integers(1, 8), st.integers(-8, -1), st.sampled_from(["go", "stop"]))
trees = st.recursive(
    keys,
    lambda inner: st.builds(
        lambda combinator, children: Node(combinator, tuple(children)),
        st.sampled_from(Combinator),
        st.lists(inner, min_size=1, max_size=4),
    ),
    max_leaves=10,
)
results = st.dictionaries(keys, st.sampled_from([OK, BAD]))


@given(trees, results, results)
def test_more_results_never_make_a_complete_tree_pending(
    tree: Tree, ready: dict[int | str, Result], more: dict[int | str, Result]
) -> None:
    if is_complete(tree, ready):
        assert is_complete(tree, {**more, **ready})


@given(trees, results)
def test_a_pending_tree_keeps_only_leaves_that_can_still_matter(tree: Tree, ready: dict[int | str, Result]) -> None:
    left = shave(tree, ready)
    assert (left is None) is is_complete(tree, ready)
    if left is not None:
        assert list(leaves(left))
        assert not set(leaves(left)) & set(ready)
        assert set(leaves(left)) <= set(leaves(tree))


@given(trees)
def test_everything_ready_completes_every_tree(tree: Tree) -> None:
    assert is_complete(tree, dict.fromkeys(leaves(tree), OK))
