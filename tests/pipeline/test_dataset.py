import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from multifocal.cohorts import Labels
from multifocal.errors import UserError
from multifocal.pipeline.augment import Augmentation
from multifocal.pipeline.cache import Cache
from multifocal.pipeline.dataset import EpochBatches, Sample, TrainingSet, collate, mix
from multifocal.pipeline.sampling import Sampling
from multifocal.pipeline.settings import BrainBox, Channel, Resize
from multifocal.volumes import Geometry

CHANNELS = (Channel(map="adc", zscore="brain"), Channel(map="zadc", below=-2))
BOX = BrainBox(kind="brain-box", brain="adc", channels=CHANNELS)
SLICES = Resize(kind="resize", brain="adc", size=(16, 16, None), channels=CHANNELS)
STILL = Augmentation()
LIVELY = Augmentation.model_validate(
    {"noise": {"p": 1, "std": [0.1, 0.2]}, "affine": {"p": 1}, "flip": {"p": 0.5}, "gamma": {"p": 0.5}}
)


def make(cases, folder, *, preprocessing=BOX, augmentation=STILL, dimensions=3, seed=0, **sampling):
    cache, taken = Cache(folder / "cache", preprocessing), Sampling(**sampling)
    return TrainingSet(cases, cache, augmentation=augmentation, dimensions=dimensions, seed=seed, sampling=taken)


def same(one: Sample, other: Sample) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.target, other.target)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def cases(case_in, folder):
    sizes = ((13, 16, 9), (10, 12, 14), (17, 9, 9))
    grids = [Geometry(size, (2.0, 1.5, 4.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1)) for size in sizes]
    return [case_in(folder, grid, name=f"S_{number}", seed=number) for number, grid in enumerate(grids)]


# Samples


def test_without_augmentation_a_sample_is_the_prepared_case(cases, folder):
    found = make(cases, folder)
    assert len(found) == 3
    for number, case in enumerate(cases):
        prepared = found.cache.get(case)
        (sample,) = found[[(0, number)]]
        assert sample.images.dtype == torch.float32 and sample.target.dtype == torch.uint8
        assert np.array_equal(sample.images, prepared.images) and np.array_equal(sample.target, prepared.target)
        assert found.sizes[number] == prepared.target.shape


def test_a_2d_network_sees_the_slices_that_hold_brain(cases, folder):
    found = make(cases, folder, preprocessing=SLICES, dimensions=2)
    expected = []
    for case in cases:
        prepared = found.cache.get(case)
        slices = [z for z in range(prepared.inside.shape[2]) if prepared.inside[..., z].any()]
        assert 0 < len(slices) < prepared.inside.shape[2]
        expected += [(prepared.images[..., z], prepared.target[..., z]) for z in slices]
    assert len(found) == len(found.sizes) == len(expected)
    assert set(found.sizes) == {(16, 16)}
    for (images, target), sample in zip(expected, found[[(0, i) for i in range(len(found))]], strict=True):
        assert np.array_equal(sample.images, images) and np.array_equal(sample.target, target)


def test_a_sample_depends_on_seed_epoch_and_index_alone(cases, folder):
    first, second = (make(cases, folder, augmentation=LIVELY) for _ in range(2))
    items = [(epoch, index) for epoch in range(3) for index in range(3)]
    samples = first[items]
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    for item, sample in zip(items[::-1], samples[::-1], strict=True):
        assert same(second[[item]][0], sample)
    for index in range(3):
        assert not same(samples[index], samples[index + 3]), "another epoch"
    (other,) = make(cases, folder, augmentation=LIVELY, seed=1)[[(0, 0)]]
    assert not same(other, samples[0])


def test_twins_are_augmented_differently(cases, folder):
    twins = make([cases[0], cases[0]], folder, augmentation=LIVELY)
    assert not same(*twins[[(0, 0), (0, 1)]])


def test_priors_stay_binary_and_the_cache_stays_as_it_was(cases, folder):
    lively, still = make(cases, folder, augmentation=LIVELY), make(cases, folder)
    before = still[[(0, 0)]][0]
    for sample in lively[[(epoch, 0) for epoch in range(5)]]:
        assert set(sample.images[1].unique().tolist()) <= {0.0, 1.0}
        assert set(sample.target.unique().tolist()) <= {0, 1}
    assert same(still[[(0, 0)]][0], before)


def test_a_worker_process_draws_the_same_samples(cases, folder):
    dataset = make(cases, folder, augmentation=LIVELY)
    batches = EpochBatches(dataset.sizes, batch_size=2, seed=0)
    options = {"sampler": batches, "batch_size": None, "collate_fn": collate}
    here = list(DataLoader(dataset, **options))
    there = list(DataLoader(dataset, **options, num_workers=1, multiprocessing_context="spawn"))
    assert len(here) == 2
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_cases_that_cannot_be_trained_on(case_in, cases, folder, tmp_path):
    unlabelled = case_in(tmp_path, name="none", replace={"label": None})
    flat = case_in(tmp_path, Geometry((10, 12), (1, 1), (0, 0), (1, 0, 0, 1)), name="flat")
    with pytest.raises(UserError, match="case none: has no label to train on; leave it out"):
        make([*cases, unlabelled], folder)
    with pytest.raises(UserError, match="case flat: is 2D, but the network is 3D"):
        make([flat], folder)
    assert make([flat], folder, dimensions=2)[[(0, 0)]][0].target.ndim == 2


# Crops

CROPS = {"crop": (6, 7, None), "per_case": 4, "centred": 0.5, "by": "lesion"}


def test_crops_are_parts_of_the_prepared_case(cases, folder):
    found = make(cases, folder, preprocessing=SLICES, **CROPS)
    assert len(found) == len(found.sizes) == 12
    for index, sample in enumerate(found[[(0, i) for i in range(12)]]):
        prepared = found.cache.get(cases[index // 4])
        size = (6, 7, prepared.target.shape[2])
        assert sample.target.shape == found.sizes[index] == size
        places = [
            (x, y)
            for x, y in np.ndindex(*(n - c + 1 for n, c in zip(prepared.target.shape[:2], size[:2], strict=True)))
            if np.array_equal(prepared.images[:, x : x + 6, y : y + 7], sample.images)
            and np.array_equal(prepared.target[x : x + 6, y : y + 7], sample.target)
        ]
        assert len(places) == 1


@pytest.mark.parametrize("augmentation", [STILL, LIVELY])
def test_centred_crops_hold_lesion_also_where_it_was_moved(cases, folder, augmentation):
    found = make(
        cases, folder, preprocessing=SLICES, augmentation=augmentation, **CROPS | {"crop": (5, 5, 5), "centred": 1.0}
    )
    assert all(sample.target.any() for sample in found[[(e, i) for e in range(5) for i in range(12)]])


def test_a_crop_depends_on_seed_epoch_and_index_alone(cases, folder):
    first, second = (make(cases, folder, preprocessing=SLICES, augmentation=LIVELY, **CROPS) for _ in range(2))
    items = [(epoch, index) for epoch in range(2) for index in range(12)]
    samples = first[items]
    for item, sample in zip(items[::-1], samples[::-1], strict=True):
        assert same(second[[item]][0], sample)
    assert not any(same(one, other) for one, other in zip(samples, samples[1:], strict=False))


def test_a_worker_process_draws_the_same_crops(cases, folder):
    dataset = make(cases, folder, preprocessing=SLICES, augmentation=LIVELY, **CROPS)
    options = {"sampler": EpochBatches(dataset.sizes, batch_size=4, seed=0), "batch_size": None, "collate_fn": collate}
    here = list(DataLoader(dataset, **options))
    there = list(DataLoader(dataset, **options, num_workers=1, multiprocessing_context="spawn"))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_crops_of_slices_and_crops_that_are_larger_than_some_images(cases, folder):
    flat = make(cases[:1], folder, preprocessing=SLICES, dimensions=2, crop=(8, 16), per_case=2)
    whole = make(cases[:1], folder, preprocessing=SLICES, dimensions=2)
    assert len(flat) == 2 * len(whole) and set(flat.sizes) == {(8, 16)}
    found = make(cases, folder, crop=(8, 12, 8))
    narrow = min(range(3), key=lambda number: found.cache.get(cases[number]).target.shape[1])
    width = found.cache.get(cases[narrow]).target.shape[1]
    (sample,) = found[[(0, narrow)]]
    assert width < 12 and sample.images.shape[2] == 12 and not sample.images[:, :, width:].any()


def test_a_crop_that_is_filled_up_in_every_sample_is_told(cases, folder):
    with pytest.warns(UserWarning, match=r"sampling.crop: 20 voxels along axis 1 are more than any .*\(16 at most\)"):
        found = make(cases, folder, preprocessing=SLICES, dimensions=2, crop=(8, 20))
    (sample,) = found[[(0, 3)]]
    assert sample.images.shape == (2, 8, 20) and not sample.images[..., 16:].any()


# Which cases


@pytest.fixture(scope="module")
def unlike(case_in, folder):
    """An empty case, one with few voxels of lesion, and one with many."""
    return [with_lesions(case_in, folder, name, shape) for name, shape in LESIONS.items()]


LESIONS = {"E": None, "F": (1, 1, 2), "M": (4, 5, 4)}


def with_lesions(case_in, folder, name, shape):
    grid = Geometry((13, 16, 9), (2.0, 1.5, 4.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    label = np.zeros(grid.size, np.uint8)
    if shape:
        label[tuple(slice(6, 6 + n) if axis < 2 else slice(3, 3 + n) for axis, n in enumerate(shape))] = 1
    return case_in(folder, grid, name=name, replace={"label": label})


@pytest.mark.parametrize("dimensions", [2, 3])
def test_empty_cases_are_left_out(unlike, folder, dimensions):
    options = {"preprocessing": SLICES, "dimensions": dimensions}
    kept, dropped = (make(unlike, folder, empty=empty, **options) for empty in ("keep", "drop"))
    assert {position for position, _ in kept.index} == {0, 1, 2}
    assert {position for position, _ in dropped.index} == {1, 2}
    assert len(dropped) == len(dropped.sizes) == len(kept) * 2 // 3
    with pytest.raises(UserError, match="sampling.empty=drop: no case to train on has a lesion; choose keep"):
        make(unlike[:1], folder, empty="drop", **options)


def test_cases_are_drawn_by_their_burden(unlike, folder):
    found = make(unlike, folder, preprocessing=SLICES, augmentation=LIVELY, weights="burden", per_case=20)
    target = [found.cache.get(case).target.sum() for case in unlike]
    expected = np.array([target[1], target[1], target[2]]) / (2 * target[1] + target[2])
    sampler = EpochBatches(found.sizes, batch_size=2, seed=0, weights=found.weights)
    epochs = []
    for epoch in range(10):
        sampler.set_epoch(epoch)
        epochs.append([item for batch in sampler for item in batch])
        assert epochs[-1] == [item for batch in sampler for item in batch]
        assert len(set(epochs[-1])) == 60
    cases = [found.index[index % 60][0] for items in epochs for _, index in items]
    assert np.bincount(cases) / len(cases) == pytest.approx(expected, abs=0.01)
    first = next(index for _, index in epochs[0] if index >= 60)
    assert not same(*found[[(0, first), (0, first % 60)]]), "a repetition is another draw"


def test_equal_weights_are_no_weights(unlike, folder):
    assert make(unlike, folder, preprocessing=SLICES).weights is None
    assert make(unlike[:1], folder, preprocessing=SLICES, weights="burden").weights is None


# Slices


def test_a_batch_of_cases_brings_the_slices_that_are_drawn_of_each(cases, folder):
    found = make(cases, folder, preprocessing=SLICES, dimensions=2, slices=4)
    assert len(found.sizes) == 3 and len(found) == 12
    batches = list(EpochBatches(found.sizes, batch_size=2, seed=0, together=found.together))
    assert sorted(len(batch) for batch in batches) == [4, 8]
    assert sorted(index for batch in batches for _, index in batch) == list(range(12))
    for batch in batches:
        samples = found[batch]
        for start in range(0, len(batch), 4):
            assert [index for _, index in batch[start : start + 4]] == list(range(batch[start][1], batch[start][1] + 4))
            prepared = found.cache.get(cases[batch[start][1] // 4])
            planes = [
                [z for z in range(prepared.target.shape[2]) if np.array_equal(prepared.images[..., z], sample.images)]
                for sample in samples[start : start + 4]
            ]
            assert all(len(plane) == 1 for plane in planes) and len({plane[0] for plane in planes}) == 4
            assert all(prepared.inside[..., plane[0]].any() for plane in planes)


def test_slices_differ_between_epochs_and_depend_on_seed_epoch_and_index_alone(cases, folder):
    options = {"preprocessing": SLICES, "dimensions": 2, "augmentation": LIVELY, "slices": 3, "centred": 0.5}
    first, second = (make(cases, folder, crop=(9, 9), **options) for _ in range(2))
    items = [(epoch, index) for epoch in range(3) for index in range(9)]
    samples = first[items]
    for item, sample in zip(items[::-1], samples[::-1], strict=True):
        assert same(second[[item]][0], sample) and sample.target.shape == (9, 9)
    assert not any(same(samples[i], samples[i + 9]) for i in range(9))


@pytest.mark.parametrize("crop", [None, (5, 5)])
def test_centred_slices_hold_lesion(cases, folder, crop):
    found = make(cases, folder, preprocessing=SLICES, dimensions=2, slices=2, centred=1.0, crop=crop)
    assert all(sample.target.any() for sample in found[[(e, i) for e in range(9) for i in range(6)]])


def test_a_2d_case_has_no_slices(case_in, folder, tmp_path):
    flat = case_in(tmp_path, Geometry((10, 12), (1, 1), (0, 0), (1, 0, 0, 1)), name="flat")
    with pytest.raises(UserError, match="case flat: is 2D and has no slices to draw; leave sampling.slices out"):
        make([flat], folder, dimensions=2, slices=2)


# Batches

SIZES = st.lists(st.tuples(*[st.integers(1, 90)] * 3), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, batch_size=st.integers(1, 7), world=st.integers(1, 5), epoch=st.integers(0, 3))
def test_every_sample_comes_once_an_epoch_and_every_process_gets_as_many_batches(sizes, batch_size, world, epoch):
    ranks = [EpochBatches(sizes, batch_size=batch_size, seed=3, rank=rank, world=world) for rank in range(world)]
    shares = []
    for sampler in ranks:
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler) == len(shares[0])
    batches = [batch for share in shares for batch in share]
    assert all(1 <= len(batch) <= batch_size and {e for e, _ in batch} == {epoch} for batch in batches)
    seen = [index for _, index in sum(batches, [])]
    assert set(seen) == set(range(len(sizes)))
    distinct = {tuple(batch) for batch in batches}
    assert sum(map(len, distinct)) == len(sizes)
    assert len(distinct) == -(-len(sizes) // batch_size)
    if world == 1:
        assert sorted(seen) == list(range(len(sizes)))


def test_more_processes_than_batches():
    for rank in range(5):
        assert list(EpochBatches([(4, 4)] * 2, batch_size=2, seed=0, rank=rank, world=5)) in (
            [[(0, 0), (0, 1)]],
            [[(0, 1), (0, 0)]],
        )


def order(sizes, *, epoch=0, seed=0):
    sampler = EpochBatches(sizes, batch_size=4, seed=seed)
    sampler.set_epoch(epoch)
    return [[index for _, index in batch] for batch in sampler]


def test_the_order_is_that_of_seed_and_epoch():
    sizes = [(n, 5, 5) for n in range(30)]
    assert order(sizes) == order(sizes)
    assert order(sizes) != order(sizes, epoch=1) != order(sizes, epoch=2)
    assert order(sizes) != order(sizes, seed=1)
    together = [{frozenset(batch) for batch in order(sizes, epoch=epoch)} for epoch in range(5)]
    assert len(frozenset.intersection(*map(frozenset, together))) == 0, "always the same batches"


def test_like_sizes_travel_together():
    rng = np.random.default_rng(0)
    sizes = [tuple(rng.integers(20, 90, 3)) for _ in range(64)]

    def padded(batches):
        return sum(len(batch) * np.prod(np.max([sizes[i] for i in batch], axis=0)) for batch in batches)

    ours = np.mean([padded(order(sizes, epoch=epoch)) for epoch in range(20)])
    random = np.mean([padded(rng.permutation(64).reshape(-1, 4)) for _ in range(20)])
    assert ours < 0.9 * random


# Collating


@pytest.mark.parametrize("sizes", [[(3, 5, 2), (4, 1, 7)], [(2, 6), (5, 3), (1, 1)], [(3, 3, 3)]])
def test_samples_are_stacked_with_zeros_at_the_far_end(sizes):
    samples = [Sample(torch.rand(2, *size) + 1, torch.randint(0, 2, size, dtype=torch.uint8)) for size in sizes]
    images, target = collate(samples)
    largest = tuple(np.max(sizes, axis=0))
    assert images.shape == (len(sizes), 2, *largest) and target.shape == (len(sizes), 1, *largest)
    assert images.dtype == torch.float32 and target.dtype == torch.uint8
    for sample, image, mask, size in zip(samples, images, target, sizes, strict=True):
        own = (..., *(slice(length) for length in size))
        assert torch.equal(image[own], sample.images)
        assert torch.equal(mask[0][own[1:]], sample.target)
        assert image.count_nonzero() == sample.images.numel()
        assert mask.sum() == sample.target.sum()


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
def test_mixed_seeds_are_what_torch_takes(numbers):
    seed = mix("sample", *numbers)
    assert 0 <= seed < 2**63
    torch.Generator().manual_seed(seed)
    assert seed not in (mix("sample", *numbers, 0), mix("weights", *numbers))


def test_mixed_seeds_of_neighbours_differ():
    assert len({mix("sample", 0, epoch, index) for epoch in range(40) for index in range(50)}) == 2000


# Pasted lesions

PASTE = Augmentation.model_validate({"paste": {"p": 1}})
NUMBERED = BrainBox.model_validate(
    {
        "kind": "brain-box",
        "brain": "adc",
        "channels": [{"map": "adc"}, {"map": "zadc", "below": -2}, {"derive": {"name": "coordinates", "axis": 0}}],
    }
)


@pytest.fixture(scope="module")
def givers(case_in, folder):
    """Four cases on one grid: each has its own value of ADC, and its lesion in its own place; the last has none."""
    size = (13, 16, 9)
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij"))
    brain = (axes**2).sum(0) < 0.7
    grid = Geometry(size, (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    found = []
    for number in range(4):
        label = np.zeros(size, np.float32)
        if number < 3:
            label[4:8, 4 + number * 3 : 6 + number * 3, 3:6] = 1
        adc = np.where(brain, 100.0 * (number + 1), 0).astype(np.float32)
        found.append(case_in(folder, grid, name=f"G_{number}", replace={"adc": adc, "label": label}))
    return found


def test_lesions_come_from_other_cases_and_never_from_the_own(givers, folder):
    found = make(givers, folder, preprocessing=NUMBERED, augmentation=PASTE)
    for position in range(4):
        own = found.cache.get(givers[position])
        sources = set()
        for (sample,) in (found[[(epoch, position)]] for epoch in range(40)):
            changed = sample.images[0].numpy() != own.images[0]
            assert changed.any()
            (value,) = np.unique(sample.images[0].numpy()[changed])
            other = found.cache.get(givers[int(value / 100) - 1])
            assert np.array_equal(sample.target.numpy()[changed], other.target[changed])
            assert np.array_equal(sample.target.numpy()[~changed], own.target[~changed])
            assert np.array_equal(sample.images[2], own.images[2])  # where a voxel lies
            sources.add(int(value / 100) - 1)
        assert sources == {0, 1, 2} - {position}


@pytest.mark.parametrize("options", [{}, {"crop": (6, 7, 5), "per_case": 3}])
def test_what_is_pasted_depends_on_seed_epoch_and_index_alone(givers, folder, options):
    augmentation = Augmentation.model_validate({"paste": {"p": 0.5}, "flip": {"p": 0.5}, "quarter_turns": {"p": 0.5}})
    first, second = (
        make(givers, folder, preprocessing=NUMBERED, augmentation=augmentation, **options) for _ in range(2)
    )
    items = [(epoch, index) for epoch in range(4) for index in range(len(first))]
    samples = first[items]
    for item, sample in zip(items[::-1], samples[::-1], strict=True):
        assert same(second[[item]][0], sample)


def test_slices_of_what_is_pasted(givers, folder):
    """Slices of a 2D network get the slices of what the whole case would get."""
    flat = make(givers, folder, preprocessing=NUMBERED, augmentation=PASTE, dimensions=2, slices=3)
    pasted = 0
    for index in range(len(flat)):
        (sample,) = flat[[(0, index)]]
        assert sample.target.ndim == 2
        pasted += len(np.unique(sample.images[0])) == 3  # outside, its own, another's
    assert pasted


def test_cases_without_others_to_take_lesions_from(givers, folder):
    with pytest.raises(UserError, match="augmentation.paste: needs two training cases with lesions, each to take the"):
        make([givers[0], givers[3]], folder, preprocessing=NUMBERED, augmentation=PASTE)
    assert make([givers[0], givers[3]], folder, preprocessing=NUMBERED)


@pytest.mark.parametrize("crop", [None, (4, 4, 3)])
def test_turned_samples_and_their_crops(case_in, folder, crop):
    """The lesion lies far along the longer axis: beyond where a crop could be if the sizes were not exchanged."""
    size, label = (8, 20, 6), np.zeros((8, 20, 6), np.float32)
    label[4, 17, 3] = 1
    grid = Geometry(size, (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    case = case_in(folder, grid, name="long", replace={"adc": np.ones(size, np.float32), "label": label})
    turns = Augmentation.model_validate({"quarter_turns": {"p": 1}})
    found = make([case], folder, preprocessing=NUMBERED, augmentation=turns, crop=crop, centred=1.0 if crop else 0.0)
    shapes = set()
    for (sample,) in (found[[(epoch, 0)]] for epoch in range(12)):
        shapes.add(tuple(sample.target.shape))
        if crop is None:
            assert any(np.array_equal(sample.target, np.rot90(label, k)) for k in (1, 2, 3))
        else:
            assert sample.target[2, 2, 1] == 1  # in the centre still
    assert shapes == ({crop} if crop else {size, (20, 8, 6)})


def test_what_is_ignored_is_nobodys_lesion_to_paste(case_in, folder):
    labels, label = Labels(ignore=9), np.zeros((13, 16, 9), np.float32)
    label[5:8, 6:9, 3:6] = 9
    ignored = case_in(folder, name="ignored", replace={"label": label})
    lesioned = [case_in(folder, name=f"lesioned{k}", seed=k) for k in range(2)]
    options = {"augmentation": PASTE, "dimensions": 3, "seed": 0}
    cache = Cache(folder / "cache", NUMBERED, labels=labels)
    assert len(TrainingSet([*lesioned, ignored], cache, **options)) == 3
    with pytest.raises(UserError, match="needs two training cases with lesions"):
        TrainingSet([lesioned[0], ignored], cache, **options)
