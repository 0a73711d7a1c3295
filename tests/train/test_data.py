"""Data sets, their files, the loader and its transforms."""

from __future__ import annotations

import gzip
import os
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft.kernels as K
from weft import data
from weft.data.sources import read_idx


def idx_bytes(array: np.ndarray) -> bytes:
    code = {"uint8": 0x08, "int32": 0x0C, "float32": 0x0D}[array.dtype.name]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(root: Path, images: np.ndarray, labels: np.ndarray, kind: str = "train", zipped: bool = True) -> Path:
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{kind}-{name}-ubyte{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(idx_bytes(array)) if zipped else idx_bytes(array))
    return folder


@pytest.fixture
def small(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 256, (7, 28, 28), dtype=np.uint8), rng.integers(0, 10, 7).astype(np.uint8)


# --- idx ---


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_idx_round_trip(tmp_path: Path, rng: np.random.Generator, dtype: str) -> None:
    array = rng.integers(0, 100, (3, 4, 5)).astype(dtype)
    (tmp_path / "a").write_bytes(idx_bytes(array))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx_bytes(array)))
    for name in ("a", "a.gz"):
        found = read_idx(tmp_path / name)
        assert found.dtype == array.dtype
        assert (found == array).all()


GOOD = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no idx file: it begins with nothing"),
        (b"\x89PNG....", "is no idx file: it begins with 89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\0", "is no idx file"),
        (GOOD[:9], "is truncated: 9 bytes, its header alone has 16"),
        (GOOD[:-1], r"is truncated: 39 bytes, expected 40 for shape \(2, 3, 4\)"),
        (GOOD + b"x", "is too long: 41 bytes, expected 40"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "is truncated: 16 bytes, expected"),
    ],
)
def test_bad_idx(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ValueError, match=f"read_idx: .*bad {message}"):
        read_idx(tmp_path / "bad")


@pytest.mark.parametrize("damage", ["truncated", "corrupted", "no gzip"])
def test_bad_gz(tmp_path: Path, damage: str) -> None:
    content = bytearray(gzip.compress(GOOD))
    if damage == "truncated":
        del content[-12:]
    elif damage == "corrupted":
        content[len(content) // 2] ^= 0xFF
    else:
        content = bytearray(GOOD)
    (tmp_path / "bad.gz").write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"read_idx: .*bad.gz is truncated or corrupted"):
        read_idx(tmp_path / "bad.gz")


# --- MNIST and its like ---


@pytest.mark.parametrize("zipped", [True, False])
def test_mnist_from_files(tmp_path: Path, small: Any, zipped: bool) -> None:
    images, labels = small
    write_mnist(tmp_path, images, labels, zipped=zipped)
    found = data.MNIST(tmp_path, train=True, download=False)
    assert (found.images[:, 0] == images).all()
    assert found.labels.dtype == np.int64
    x, y = found[-1]
    assert y == labels[-1]
    np.testing.assert_allclose(x.numpy()[0], (images[-1] / 255 - 0.1307) / 0.3081, rtol=1e-5, atol=1e-6)
    with pytest.raises(IndexError, match="MNIST: index 7 is out of range for 7 samples"):
        found[7]


def test_root_from_the_environment(tmp_path: Path, small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path, *small, kind="t10k")
    monkeypatch.setenv("WEFT_DATA_DIR", str(tmp_path))
    assert len(data.MNIST(train=False)) == 7


def test_files_that_do_not_fit(tmp_path: Path, small: Any) -> None:
    images, labels = small
    write_mnist(tmp_path, images, labels[:5])
    with pytest.raises(ValueError, match=r"MNIST: .* holds 7 images but .* \(5,\) labels"):
        data.MNIST(tmp_path)
    write_mnist(tmp_path, images, labels + 10)
    with pytest.raises(ValueError, match=r"MNIST: .* holds the label \d+, expected 0..9"):
        data.MNIST(tmp_path)
    write_mnist(tmp_path, images.reshape(7, -1), labels)
    with pytest.raises(ValueError, match=r"holds uint8 \(7, 784\), expected uint8 \(n, H, W\)"):
        data.MNIST(tmp_path)


@pytest.mark.parametrize("kind", ["MNIST", "FashionMNIST", "CIFAR10"])
def test_what_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pooch = pytest.importorskip("pooch")

    def unreachable(url: str, **options: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    with pytest.raises(data.DatasetNotFoundError) as error:
        getattr(data, kind)(tmp_path)
    text = str(error.value)
    assert f"{kind} is not in {tmp_path}" in text
    assert "and could not be downloaded" in text
    assert "ConnectionError: no route" in text
    for url in {"CIFAR10": ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"]}.get(
        kind, [m + "train-images-idx3-ubyte.gz" for m in getattr(data, kind).mirrors] if kind != "CIFAR10" else []
    ):
        assert url in text
    assert "WEFT_DATA_DIR" in text
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_without_download_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pooch = pytest.importorskip("pooch")

    monkeypatch.setattr(pooch, "retrieve", lambda *a, **k: pytest.fail("tried to download"))
    with pytest.raises(data.DatasetNotFoundError, match=r"MNIST is not in .*\.\nGet these files"):
        data.MNIST(tmp_path, download=False)


def test_a_second_mirror_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Any) -> None:
    pooch = pytest.importorskip("pooch")

    asked = []

    def flaky(url: str, *, known_hash: str, fname: str, path: Path, downloader: Any) -> None:
        asked.append(url)
        if url.startswith(data.MNIST.mirrors[0]):
            raise ValueError("MD5 hash of downloaded file does not match")
        array = small[0] if "images" in fname else small[1]
        (Path(path) / fname).write_bytes(gzip.compress(idx_bytes(array)))

    monkeypatch.setattr(pooch, "retrieve", flaky)
    assert len(data.MNIST(tmp_path)) == 7
    assert len(asked) == 4


# --- CIFAR ---


def cifar_bytes(rng: np.random.Generator, count: int, label: int = 3) -> bytes:
    rows = rng.integers(0, 256, (count, 3073), dtype=np.uint8)
    rows[:, 0] = label
    return rows.tobytes()


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.CIFAR10, "records", 4)


@pytest.mark.usefixtures("small_cifar")
def test_cifar(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(cifar_bytes(rng, 4, label=i))
    found = data.CIFAR10(tmp_path, train=True, download=False)
    assert found.images.shape == (20, 3, 32, 32)
    assert found.labels.tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4
    assert len(data.CIFAR10(tmp_path, batches=[2, 4])) == 8
    with pytest.raises(ValueError, match=r"CIFAR10: batches must be some of 1 to 5, got \[6\]"):
        data.CIFAR10(tmp_path, batches=[6])
    with pytest.raises(data.DatasetNotFoundError, match=r"missing are .*test_batch.bin"):
        data.CIFAR10(tmp_path, train=False, download=False)


@pytest.mark.usefixtures("small_cifar")
def test_bad_cifar(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for cut in (1, 3073):
        (folder / "test_batch.bin").write_bytes(cifar_bytes(rng, 4)[:-cut])
        with pytest.raises(
            ValueError, match=rf"is truncated or corrupted: {4 * 3073 - cut} bytes, expected {4 * 3073}"
        ):
            data.CIFAR10(tmp_path, train=False)
    (folder / "test_batch.bin").write_bytes(cifar_bytes(rng, 4, label=10))
    with pytest.raises(ValueError, match=r"holds the label 10, expected 0..9"):
        data.CIFAR10(tmp_path, train=False)


@pytest.mark.usefixtures("small_cifar")
def test_cifar_archive(tmp_path: Path, rng: np.random.Generator) -> None:
    source = tmp_path / "source" / "cifar-10-batches-bin"
    source.mkdir(parents=True)
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    for name in names:
        (source / name).write_bytes(cifar_bytes(rng, 4))
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, "cifar-10-batches-bin")
    assert len(data.CIFAR10(tmp_path, train=False)) == 4
    other = tmp_path / "other"
    other.mkdir()
    (other / archive.name).write_bytes(archive.read_bytes()[:-4000])
    with pytest.raises(ValueError, match=r"CIFAR10: .*tar.gz is truncated or corrupted"):
        data.CIFAR10(other, train=False)


# --- other data sets ---


def test_digits() -> None:
    pytest.importorskip("sklearn")
    train, test = data.Digits(train=True), data.Digits(train=False)
    assert len(train) + len(test) == 1797
    assert train.images.shape[1:] == (1, 8, 8)
    large = data.Digits(train=False, size=28)
    assert large.images.shape[1:] == (1, 28, 28)
    assert (large.images[:, :, 2:26:3, 2:26:3] == test.images).all()
    x = np.asarray(large.gather(np.arange(len(large))).array)
    assert abs(x.mean()) < 1e-4
    assert abs(x.std() - 1) < 1e-3


def test_array_dataset(rng: np.random.Generator) -> None:
    assert data.ArrayDataset(np.zeros((4, 5, 6), np.uint8), np.arange(4)).images.shape == (4, 1, 5, 6)
    flat = data.ArrayDataset(np.ones((4, 5), np.uint8), np.arange(4, dtype=np.uint8))
    assert flat.inputs.dtype == np.float32
    assert flat.labels.dtype == np.int64
    with pytest.raises(ValueError, match=r"ArrayDataset: 4 inputs \(4, 5\) but 3 labels"):
        data.ArrayDataset(np.ones((4, 5)), np.arange(3))
    with pytest.raises(TypeError, match="ArrayDataset: labels must be numbers, got <U1"):
        data.ArrayDataset(np.ones((2, 5)), np.array(["a", "b"]))
    with pytest.raises(ValueError, match="mean and std need 3 numbers, one a channel"):
        data.ArrayDataset(np.ones((2, 3, 4, 4), np.uint8), np.arange(2), mean=[0.5], std=[0.5])
    with pytest.raises(ValueError, match="std must be positive"):
        data.ArrayDataset(np.ones((2, 1, 4, 4), np.uint8), np.arange(2), mean=[0.5], std=[0.0])
    with pytest.raises(ValueError, match="mean and std are for uint8 images"):
        data.ArrayDataset(np.ones((2, 4), np.float32), np.arange(2), mean=[0.5], std=[0.5])


def test_random_split() -> None:
    whole = data.ArrayDataset(np.arange(10, dtype=np.float32)[:, None], np.arange(10))
    parts = data.random_split(whole, [7, 3], seed=1)
    assert [len(p) for p in parts] == [7, 3]
    assert sorted(np.concatenate([p.labels for p in parts]).tolist()) == list(range(10))
    assert [p.labels.tolist() for p in data.random_split(whole, [7, 3], seed=1)] == [p.labels.tolist() for p in parts]
    assert [len(p) for p in data.random_split(whole, [0.5, 0.25, 0.25])] == [6, 2, 2]
    with pytest.raises(ValueError, match=r"random_split: lengths \[7, 4\] do not add up to the 10 samples"):
        data.random_split(whole, [7, 4])
    with pytest.raises(IndexError, match=r"Subset: indices must lie in 0..9, got 3..10"):
        data.Subset(whole, [3, 10])


# --- the loader ---


@pytest.fixture
def images(rng: np.random.Generator) -> data.ArrayDataset:
    return data.ArrayDataset(rng.integers(0, 256, (23, 1, 9, 8), dtype=np.uint8), np.arange(23), [0.4], [0.3])


def labels_of(loader: data.DataLoader) -> list[list[int]]:
    return [y.tolist() for _, y in loader]


def test_batches(images: data.ArrayDataset) -> None:
    loader = data.DataLoader(images, 5)
    assert len(loader) == 5
    assert labels_of(loader) == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11, 12, 13, 14],
        [15, 16, 17, 18, 19],
        [20, 21, 22],
    ]
    assert (
        len(data.DataLoader(images, 5, drop_last=True))
        == len(labels_of(data.DataLoader(images, 5, drop_last=True)))
        == 4
    )
    x, y = next(iter(loader))
    assert x.dtype == K.DType.float32
    assert y.dtype == K.DType.int64
    np.testing.assert_allclose(x.numpy(), (images.images[:5] / 255 - 0.4) / 0.3, rtol=1e-5, atol=1e-5)


def test_order_is_of_seed_and_epoch(images: data.ArrayDataset) -> None:
    loader, same = (data.DataLoader(images, 5, shuffle=True, seed=3) for _ in range(2))
    first, second = labels_of(loader), labels_of(loader)
    assert first != second
    assert sorted(label for batch in first for label in batch) == list(range(23))
    assert [labels_of(same), labels_of(same)] == [first, second]
    loader.set_epoch(0)
    assert labels_of(loader) == first
    assert len({str(labels_of(data.DataLoader(images, 5, shuffle=True, seed=s))) for s in (-1, 0, 1, 2)}) == 4


def test_resumed_loader_goes_on(images: data.ArrayDataset) -> None:
    transform = data.RandomShift(1)
    loader = data.DataLoader(images, 5, shuffle=True, seed=3, transform=transform)
    labels_of(loader)
    state = loader.state_dict()
    expected = [(x.numpy().tobytes(), y.tolist()) for x, y in loader]
    other = data.DataLoader(images, 5, shuffle=True, seed=9, transform=transform)
    other.load_state_dict(state)
    assert [(x.numpy().tobytes(), y.tolist()) for x, y in other] == expected


def test_subsets_are_gathered_where_they_lie(images: data.ArrayDataset) -> None:
    subset = data.Subset(data.Subset(images, np.arange(22, -1, -1)), [0, 5, 7])
    ((x, y),) = data.DataLoader(subset, 9)
    assert y.tolist() == [22, 17, 15]
    assert (x.numpy() == images.gather(np.array([22, 17, 15])).numpy()).all()


def test_loader_errors(images: data.ArrayDataset) -> None:
    with pytest.raises(ValueError, match="DataLoader: batch_size must be positive, got 0"):
        data.DataLoader(images, 0)
    with pytest.raises(ValueError, match="DataLoader: a transform needs uint8 images"):
        data.DataLoader(data.ArrayDataset(np.ones((3, 2), np.float32), np.arange(3)), 2, transform=data.RandomShift(1))


# --- what is no data set ---


@pytest.mark.parametrize("make", [data.Dataset, data.ArrayDataset])
def test_labels_are_classes_or_targets(make: Any) -> None:
    x = np.zeros((2, 1, 2, 2), np.uint8)
    bad: Any
    for bad, text in (
        ([0, -1], "numbers of classes, which count from 0, got -1 at index 1"),
        ([-100, 0], "numbers of classes, which count from 0, got -100 at index 0"),
        ([[0, 1], [2, -3]], r"numbers of classes, which count from 0, got -3 at index \(1, 1\)"),
        ([0.5, np.nan], "finite, got nan at index 1"),
        ([np.inf, 0.5], "finite, got inf at index 0"),
        (np.array([0, 2**63], np.uint64), "numbers that int64 holds, got 9223372036854775808 at index 1"),
    ):
        with pytest.raises(ValueError, match=f"{make.__name__}: labels must be {text}"):
            make(x, np.array(bad))
    for bad, text in (
        ([0, 2], "below 2, the number of classes, got 2 at index 1"),
        ([0, 2.7], "whole numbers of classes, got 2.7 at index 1"),
        ([0, np.nan], "finite, got nan at index 1"),
        ([-1.0, 0], "numbers of classes, which count from 0, got -1.0 at index 0"),
    ):
        with pytest.raises(ValueError, match=f"{make.__name__}: labels must be {text}"):
            make(x, np.array(bad), classes=["a", "b"])
    classes = make(x, np.array([1.0, 0.0]), classes=["a", "b"]).labels
    assert (classes.dtype, classes.tolist()) == (np.int64, [1, 0])
    targets = make(x, np.array([[2.7, -1.0], [0.5, 1e30]])).labels
    assert targets.tolist() == [[2.7, -1.0], [0.5, 1e30]]
    assert make(x, np.array([True, False])).labels.tolist() == [1, 0]


@pytest.mark.parametrize("make", [data.Dataset, data.ArrayDataset])
def test_arrays_that_are_no_data(make: Any) -> None:
    x, y = np.zeros((2, 3), np.float32), np.array([0, 1])
    for bad in (x.astype(complex), np.array([["a"], ["b"]]), np.array([[None], [{}]]), None, "ab", object()):
        with pytest.raises(TypeError, match=f"{make.__name__}: inputs must be"):
            make(bad, y)
        with pytest.raises(TypeError, match=f"{make.__name__}: labels must be"):
            make(x, bad)
    with pytest.raises(TypeError, match=f"{make.__name__}: inputs must be an array"):
        make([[1], [2, 3]], y)
    with pytest.raises(ValueError, match=rf"{make.__name__}: inputs need a first axis of samples, got the shape \(\)"):
        make(np.float32(1), y)
    pixels = np.zeros((2, 1, 2, 2), np.uint8)
    for name in ("mean", "std"):
        for bad in ([np.nan], [np.inf]):
            with pytest.raises(ValueError, match=f"{make.__name__}: {name} must be finite"):
                make(pixels, y, **{name: bad})
        for bad in (["a"], [None], [1j]):
            with pytest.raises(TypeError, match=f"{make.__name__}: {name} must be"):
                make(pixels, y, **{name: bad})
    with pytest.raises(ValueError, match="mean and std need 1 numbers"):
        make(pixels, y, mean=0.5)
    empty = make(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    assert list(data.DataLoader(empty, 2)) == []
    assert [len(part) for part in data.random_split(empty, [0, 0])] == [0, 0]
    for bad in ("1", None, 0.0, np.nan, True):
        with pytest.raises(TypeError, match="an index must be an int"):
            make(x, y)[bad]


def test_parts_that_are_none(images: data.ArrayDataset) -> None:
    for bad in ([0.5], ["a"], [np.nan], [True, False], None, [None]):
        with pytest.raises(TypeError, match="Subset: indices must be"):
            data.Subset(images, bad)
    with pytest.raises(TypeError, match="Subset: dataset must be a Dataset"):
        data.Subset([1, 2], [0])
    for bad in ("ab", None, 5, ["23"], [None], [True]):
        with pytest.raises(TypeError, match="random_split: "):
            data.random_split(images, bad)
    for bad in ([np.nan, 1.0], [-1, 24], [2.5, 20.5], [], [1.5, -0.5], [np.inf], [10**30]):
        with pytest.raises(ValueError, match="random_split: "):
            data.random_split(images, bad)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_labels_of_a_file_that_are_none(tmp_path: Path, small: Any, dtype: str) -> None:
    pictures, labels = small
    for bad in (-1, np.nan, 2.7) if dtype == "float32" else (-1,):
        changed = labels.astype(dtype)
        changed[2] = bad
        write_mnist(tmp_path, pictures, changed)
        rule = "holds float32 labels, expected integers" if dtype == "float32" else "holds the label -1, expected 0..9"
        with pytest.raises(ValueError, match=f"MNIST: .*labels-idx1.* {rule}"):
            data.MNIST(tmp_path)


# --- transforms ---


class Fixed(data.RandomShift):
    """One given matrix for every image."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = np.array(matrix, np.float64)

    def matrices(self, count: int, size: Any, generator: Any) -> np.ndarray:
        return np.tile(self.matrix, (count, 1, 1))


def raw(images: np.ndarray, transform: Any, fill: float = 0.0) -> np.ndarray:
    """Transformed images on the 0..255 scale."""
    whole = data.ArrayDataset(images, np.arange(len(images)))
    ((x, _),) = data.DataLoader(whole, len(images), transform=transform, fill=fill)
    return np.round(x.numpy() * 255).astype(int)


@pytest.fixture
def pictures(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (3, 2, 6, 6), dtype=np.uint8)


def test_identity_shift_flip_and_turn_are_exact(pictures: np.ndarray) -> None:
    assert (raw(pictures, Fixed([[1, 0, 0], [0, 1, 0]])) == pictures).all()
    shifted = raw(pictures, Fixed([[1, 0, 2], [0, 1, -1]]), fill=7)
    expected = np.full_like(pictures, 7, dtype=int)
    expected[:, :, 1:, :4] = pictures[:, :, :-1, 2:]
    assert (shifted == expected).all()
    assert (raw(pictures, data.RandomHorizontalFlip(1.0)) == pictures[:, :, :, ::-1]).all()
    turned = raw(pictures, data.RandomRotation((90, 90)))
    assert (turned == np.rot90(pictures, axes=(2, 3))).all() or (turned == np.rot90(pictures, -1, axes=(2, 3))).all()


def test_drawn_shifts_stay_in_range(rng: np.random.Generator) -> None:
    theta = data.RandomShift((1, 3)).matrices(1000, (9, 9), K.Generator(0))
    assert set(theta[:, 1, 2]) == {-1, 0, 1}
    assert set(theta[:, 0, 2]) == {-3, -2, -1, 0, 1, 2, 3}


def test_crop(pictures: np.ndarray) -> None:
    whole = raw(pictures, data.RandomCrop((6, 6)))
    assert (whole == pictures).all()
    padded = np.pad(pictures, ((0, 0), (0, 0), (2, 2), (2, 2)))
    cropped = raw(pictures, data.RandomCrop((5, 4), padding=2))
    assert cropped.shape == (3, 2, 5, 4)
    for image, piece in zip(padded, cropped, strict=True):
        places = [(image[:, i : i + 5, j : j + 4] == piece).all() for i in range(6) for j in range(7)]
        assert any(places)
    with pytest.raises(ValueError, match=r"RandomCrop: \(9, 9\) is larger than the padded image \(8, 8\)"):
        raw(pictures, data.RandomCrop(9, padding=1))


def test_compose_is_one_after_another(pictures: np.ndarray) -> None:
    shift, flip = Fixed([[1, 0, 1], [0, 1, 0]]), data.RandomHorizontalFlip(1.0)
    both = raw(pictures, data.Compose([shift, flip]))
    assert (both == raw(pictures, shift)[:, :, :, ::-1]).all()
    other = raw(pictures, data.Compose([flip, shift]))
    assert (other == raw(np.ascontiguousarray(pictures[:, :, :, ::-1]), shift)).all()
    crop = raw(pictures, data.Compose([data.RandomCrop((6, 5)), flip]))
    assert crop.shape == (3, 2, 6, 5)


# --- the real ones, where they are at hand ---


@pytest.mark.parametrize(("kind", "shape", "counts"), [("MNIST", (1, 28, 28), (60_000, 10_000)),
                                                       ("FashionMNIST", (1, 28, 28), (60_000, 10_000)),
                                                       ("CIFAR10", (3, 32, 32), (10_000, 10_000))])  # fmt: skip
def test_real_files(kind: str, shape: tuple[int, ...], counts: tuple[int, int]) -> None:
    root = os.environ.get("WEFT_DATA_DIR")
    folder = {"CIFAR10": "cifar-10-batches-bin"}.get(kind, kind)
    if root is None or not (Path(root) / folder).is_dir():
        return
    options = {"batches": [1]} if kind == "CIFAR10" else {}
    for train, count in zip((True, False), counts, strict=True):
        found = getattr(data, kind)(root, train=train, download=False, **(options if train else {}))
        assert found.images.shape == (count, *shape)
        share = np.bincount(found.labels, minlength=10) / count
        assert share.min() > 0.08
        if train:
            measured = found.images.mean(axis=(0, 2, 3)) / 255
            np.testing.assert_allclose(measured, found.mean, atol=1e-2)
