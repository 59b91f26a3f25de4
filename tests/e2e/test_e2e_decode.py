import threading

import numpy as np
import pytest

from ncclprobe.e2e.decode import checksum, decode, make_layers, message_bytes, share, tokens
from ncclprobe.records.e2e import ProxyShape

SHAPE = ProxyShape(layers=2, hidden=48, batch=3, steps=1, nranks=1)


def run_ranks(nranks, spoil=None):
    """Return each rank's output; ranks are threads that meet at each all-reduce."""
    barrier, parts, outputs = threading.Barrier(nranks), [None] * nranks, [None] * nranks

    def rank_program(rank):
        def reduce(part):
            parts[rank] = part if spoil is None else spoil(rank, part)
            barrier.wait()
            total = np.sum(np.stack(parts), axis=0, dtype=np.float32)
            barrier.wait()
            return total

        shape = SHAPE.with_(nranks=nranks)
        outputs[rank] = decode(tokens(shape, 0), make_layers(shape, rank), reduce)

    threads = [threading.Thread(target=rank_program, args=(rank,)) for rank in range(nranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outputs


@pytest.mark.parametrize("nranks", [2, 3, 4])
def test_the_model_is_the_same_on_any_number_of_ranks(nranks):
    (alone,) = run_ranks(1)
    for output in run_ranks(nranks):
        np.testing.assert_allclose(output, alone, rtol=2e-4, atol=2e-5)
        assert checksum(output) == pytest.approx(checksum(alone), rel=1e-5)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rank, part: part * (rank != 1),
        lambda rank, part: part * (1 + (rank == 1)),
        lambda rank, part: np.roll(part, rank),
    ],
)
def test_a_wrong_sum_shows_in_the_checksum(spoil):
    right, wrong = checksum(run_ranks(3)[0]), checksum(run_ranks(3, spoil)[0])
    assert abs(wrong - right) > 0.003 * right


@pytest.mark.parametrize("nranks", [1, 3, 4, 7])
def test_shares_cover_the_width_once(nranks):
    columns = [column for rank in range(nranks) for column in share(110.4, rank, nranks)]
    assert columns == list(range(110))


def test_the_message_is_what_a_decode_step_sends():
    assert message_bytes(ProxyShape(batch=64, hidden=7168)) == 64 * 7168 * 4
