"""The engine's random numbers (base/random.hpp) in numpy, for goldens that draw the same ones."""

import numpy as np

MASK = (1 << 64) - 1


def random_key(seed, purpose):
    """64-bit FNV-1a of the purpose, mixed with the seed by the finaliser of splitmix64."""
    value = 0xCBF29CE484222325
    for byte in purpose.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    value = (value + 0x9E3779B97F4A7C15 * (seed + 1)) & MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def philox4x32(counter, key):
    """counter: four arrays of 32 bits each; key: 64 bits. Returns four arrays (Philox4x32-10, Salmon et al., SC 2011)."""
    c = [np.asarray(x, dtype=np.uint64) for x in np.broadcast_arrays(*counter)]
    low32, key0, key1 = np.uint64(0xFFFFFFFF), key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        product0, product1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [product1 >> np.uint64(32) ^ c[1] ^ np.uint64(key0), product1 & low32,
             product0 >> np.uint64(32) ^ c[3] ^ np.uint64(key1), product0 & low32]
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def gumbel_labels(logits, numbers, key):
    """Labels sampled as kernels/gumbel.hpp says. logits [tokens, vocab] in double; numbers: the tokens' in the run."""
    ids = np.arange(logits.shape[1], dtype=np.uint64)
    numbers = np.asarray(numbers, dtype=np.uint64)[:, None]
    words = philox4x32([numbers & np.uint64(0xFFFFFFFF), numbers >> np.uint64(32), ids[None] // np.uint64(4), 0], key)
    word = np.choose((ids % np.uint64(4)).astype(int), words)
    noise = -np.log(-np.log((word.astype(np.float64) + 0.5) * 2.0**-32))
    return np.argmax(logits + noise, axis=1)


def uniform(key, indices):
    """RandomStream(key).uniform(index): [0, 1), 53 bits."""
    indices = np.asarray(indices, dtype=np.uint64)
    words = philox4x32([indices & np.uint64(0xFFFFFFFF), indices >> np.uint64(32), 0, 0], key)
    return ((words[0] << np.uint64(32) | words[1]) >> np.uint64(11)).astype(np.float64) * 2.0**-53
