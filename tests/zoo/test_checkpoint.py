import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")
from torch import nn  # noqa: E402

from fusion.errors import InputError  # noqa: E402
from zoo.checkpoint import (  # noqa: E402
    MovingAverage,
    average,
    latest,
    load_matching,
    load_weights,
    read_state,
    save_weights,
    write_checkpoint,
)


def network(classes=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, classes, 1))


def test_the_mean_of_weights_is_exact_and_counters_are_the_last():
    states = [
        {"w": torch.tensor([1.0, 1e8]), "n": torch.tensor(3)},
        {"w": torch.tensor([3.0, 1.0]), "n": torch.tensor(5)},
    ]
    states.append({"w": torch.tensor([5.0, 2.0]), "n": torch.tensor(4)})
    mean = average(states)
    assert mean["w"].dtype == torch.float32
    assert mean["w"].tolist() == [3.0, float(torch.tensor(100000003 / 3).float())]
    assert mean["n"].item() == 4
    assert states[0]["w"].tolist() == [1.0, 1e8]


def test_weights_of_other_models_are_not_averaged():
    with pytest.raises(InputError, match=r"weights 2 of 2: differ from the first in 2 tensors, such as 2\.bias"):
        average([network(3).state_dict(), network(4).state_dict()])
    with pytest.raises(InputError, match="no weights"):
        average([])


def test_the_moving_average_follows_weights_and_statistics_and_copies_counters():
    model = network()
    ema = MovingAverage(model, 0.9)
    expected = None
    for step in range(4):
        model(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(step)))
        with torch.no_grad():
            model[0].weight += 1
        ema.update(model)
        now = torch.cat([model[0].weight.detach().flatten(), model[1].running_mean])
        past = min(0.9, (1 + step) / (10 + step))
        expected = now if expected is None else past * expected + (1 - past) * now
    found = torch.cat([ema.model[0].weight.detach().flatten(), ema.model[1].running_mean])
    torch.testing.assert_close(found, expected)
    assert ema.model[1].num_batches_tracked.item() == 4


def test_a_short_training_is_not_averaged_with_where_it_began():
    model = network()
    ema, start = MovingAverage(model, 0.9998), model[0].weight.detach().clone()
    for _ in range(40):
        model[0].weight.data += 1
        ema.update(model)
    moved = (ema.model[0].weight - start).mean().item()
    assert 30 < moved < 40  # at a constant 0.9998 the average would have stayed near the first update, at 1.2
    long = MovingAverage(model, 0.5)
    for _ in range(20):
        long.update(model)
    before = long.model[0].weight.detach().clone()
    model[0].weight.data += 1
    long.update(model)
    torch.testing.assert_close(long.model[0].weight.detach(), before + 0.5)


def test_which_weights_of_a_folder_are_read(tmp_path):
    model = network()
    ema = MovingAverage(model, 0.9)
    ema.update(model)
    model[0].weight.data += 1
    write_checkpoint(tmp_path / "both", 1, model.state_dict(), ema.state(), {}, "{}")
    write_checkpoint(tmp_path / "one", 1, model.state_dict(), None, {}, "{}")
    averaged, last = ema.model[0].weight, model[0].weight
    for which, expected in ((None, averaged), ("ema", averaged), ("last", last)):
        assert torch.equal(load_weights(tmp_path / "both", which)["0.weight"], expected)
    for which in (None, "last"):
        assert torch.equal(load_weights(tmp_path / "one", which)["0.weight"], last)
    with pytest.raises(InputError, match="weights='ema' asks for averaged weights, and it was trained without"):
        load_weights(tmp_path / "one", "ema")


def test_a_restored_moving_average_goes_on_as_if_never_stopped():
    models = [network(), network()]
    whole, first = MovingAverage(models[0], 0.5), MovingAverage(models[1], 0.5)
    for ema, model in ((whole, models[0]), (first, models[1])):
        model[0].weight.data += 1
        ema.update(model)
    second = MovingAverage(network(seed=5), 0.5)
    second.restore(first.state())
    for ema, model in ((whole, models[0]), (second, models[1])):
        model[0].weight.data *= 2
        ema.update(model)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, second.state()[name]), name


def test_pre_training_gives_all_but_the_layers_of_the_classes():
    source, target = network(365, seed=1), network(80, seed=2)
    target.extra = nn.Linear(1, 1)
    before = target[2].weight.clone()
    partial = load_matching(target, source.state_dict())
    assert partial.other_shape == ("2.bias", "2.weight")
    assert partial.missing == ("extra.bias", "extra.weight")
    assert partial.unused == ()
    assert torch.equal(target[0].weight, source[0].weight)
    assert torch.equal(target[2].weight, before)
    with pytest.raises(InputError, match="no tensor has a name and shape"):
        load_matching(target, {"other": torch.zeros(1)})


def test_checkpoints_are_read_as_written_and_older_ones_go(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.randn(1, 3, 2, 2)).sum().backward()
    optimizer.step()
    ema = MovingAverage(model, 0.9)
    state = {"optimizer": optimizer.state_dict(), "random": [torch.get_rng_state()], "step": 7, "notes": ["a"]}
    write_checkpoint(tmp_path, 3, model.state_dict(), None, {}, "{}")
    place = write_checkpoint(tmp_path, 7, model.state_dict(), ema.state(), state, '{"a": 1}')
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000007"]
    assert latest(tmp_path) == place
    weights, averaged, rest = read_state(place)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert averaged is not None
    assert averaged["n_averaged"].item() == 0
    assert rest["step"] == 7
    assert torch.equal(
        rest["optimizer"]["state"][0]["momentum_buffer"], optimizer.state_dict()["state"][0]["momentum_buffer"]
    )
    assert (place / "config.json").read_text() == '{"a": 1}'
    assert set(load_weights(tmp_path)) == set(model.state_dict())


def test_a_state_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    place = write_checkpoint(tmp_path, 1, network().state_dict(), None, {}, "{}")
    torch.save({"step": Evil()}, place / "state.pt")
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        read_state(place)


def test_nothing_or_something_else_in_place_of_weights(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint"):
        load_weights(tmp_path)
    with pytest.raises(InputError, match="objects365: there are no such weights"):
        load_weights("objects365")  # what a variant that is pre-trained names, until the user names a run
    (tmp_path / "model.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="expected a safetensors file"):
        load_weights(tmp_path)


def test_shared_tensors_can_be_saved(tmp_path):
    tensor = torch.arange(6.0)
    save_weights({"a": tensor, "b": tensor, "part": tensor.view(2, 3).T}, tmp_path / "w.safetensors", {"from": "test"})
    assert load_weights(tmp_path / "w.safetensors")["part"].tolist() == [[0, 3], [1, 4], [2, 5]]
