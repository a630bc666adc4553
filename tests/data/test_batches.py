from schnetgen_pyg.data.batches import BatchSampler


def test_batches_cover_every_molecule_once_per_pass():
    sampler = BatchSampler(10, 3, 8, seed=0)
    first, second = ([i for b in range(k, k + 4) for i in sampler.batch(b)] for k in (0, 4))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    sampler.start = 5
    assert list(sampler) == [sampler.batch(k) for k in (5, 6, 7)]
    whole = sampler.batch(2)
    sampler.world_size = 2
    shares = []
    for sampler.rank in (0, 1):
        shares += sampler.batch(2)
    assert sorted(shares) == sorted(whole)
