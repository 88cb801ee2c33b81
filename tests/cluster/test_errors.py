import pickle

from resight.cluster.errors import UserError, did_you_mean


def test_text_has_problem_place_and_cure():
    error = UserError("lr is -1", where="config.yaml: optim.lr", cure="use a positive number")
    assert str(error) == "lr is -1\n  where: config.yaml: optim.lr\n  cure:  use a positive number"


def test_empty_parts_are_left_out():
    assert str(UserError("no")) == "no"


def test_survives_pickling_with_all_parts():
    again = pickle.loads(pickle.dumps(UserError("a", where="b", cure="c")))
    assert (type(again), again.problem, again.where, again.cure) == (UserError, "a", "b", "c")


def test_near_names_are_offered():
    assert did_you_mean("tripet", ["triplet", "centre"]) == "did you mean 'triplet'?"


def test_far_names_get_the_list():
    assert did_you_mean("xyz", ["b", "a"]) == "choose one of: a, b"
    assert did_you_mean("xyz", []) == "there is nothing to choose from"
