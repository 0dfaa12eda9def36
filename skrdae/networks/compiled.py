"""Dense networks on a CPU as compiled loops: a layer's value, and training by whole epochs.

A step of a small network is some thirty operations of a microsecond each; called one by one from
Python they take several times as long. In training the matrix products are the BLAS's, and
everything between them is a pass or two over memory that is in the cache. A layer's value alone,
which is what scoring needs, is made by a product of our own: a BLAS gives a row other last bits in
another place.

They are in one file because the compiler does not notice that a function from another file has
changed.
"""

from typing import NamedTuple

import numpy as np

from skrdae._compiled import compiled, inlined

_IDENTITY, _RELU, _TANH, _SIGMOID = range(4)
#: Activations by name.
KINDS = {"identity": _IDENTITY, "relu": _RELU, "tanh": _TANH, "sigmoid": _SIGMOID}

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
# Where averages of gradients are cut off before they become denormal numbers, which are slow.
_TINY = np.float32(1e-30)


class Layers(NamedTuple):
    """Where a member's parameters lie in flat arrays.

    Attributes
    ----------
    sizes : ndarray of int64, shape (n_layers + 1,)
        Units, input first.
    kinds : ndarray of int64, shape (n_layers,)
        Activations; values of :data:`KINDS`.
    starts : ndarray of int64, shape (2 * n_layers,)
        Where weight and bias of each layer begin.
    """

    sizes: np.ndarray
    kinds: np.ndarray
    starts: np.ndarray


class Adam(NamedTuple):
    """A member's parameters and the state of their optimiser.

    Attributes
    ----------
    values, mean, square : ndarray of float32, shape (size,)
        Flat, of all members.
    grads : ndarray of float32, shape (n_pieces, size)
        Of each piece of a batch.
    lr, beta1, beta2, eps : float
    n_done : int
        Steps made before.
    """

    values: np.ndarray
    grads: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    lr: float
    beta1: float
    beta2: float
    eps: float
    n_done: int


# The numerator's and the denominator's coefficients of a rational function, in x².
_P = tuple(
    np.float32(c)
    for c in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
_Q = tuple(
    np.float32(c)
    for c in (
        1.19825839466702e-06,
        1.18534705686654e-04,
        2.26843463243900e-03,
        4.89352518554385e-03,
    )
)
_TANH_END = np.float32(7.90531110763549805)  # beyond it, tanh is 1 in single precision


@compiled
def _tanh(x):
    # Unlike a call of the mathematical library, this is arithmetic that a loop does on a whole
    # register at once. Within 3e-7 of the function.
    x = min(max(x, -_TANH_END), _TANH_END)
    s = x * x
    p = _P[0]
    p = p * s + _P[1]
    p = p * s + _P[2]
    p = p * s + _P[3]
    p = p * s + _P[4]
    p = p * s + _P[5]
    p = p * s + _P[6]
    q = _Q[0]
    q = q * s + _Q[1]
    q = q * s + _Q[2]
    q = q * s + _Q[3]
    return x * p / q


@inlined
def _activate(z, kind):
    """Put the activation in the place of its argument, a row."""
    if kind == _TANH:
        for j in range(len(z)):
            z[j] = _tanh(z[j])
    elif kind == _RELU:
        for j in range(len(z)):
            z[j] = max(z[j], _ZERO)
    elif kind == _SIGMOID:
        for j in range(len(z)):
            z[j] = _HALF * _tanh(_HALF * z[j]) + _HALF


# How many rows, and how many of the weight's, are worked on before going on to others: few enough
# for the first two levels of cache.
_ROWS, _PANEL = 64, 128


@inlined
def _add_four_products(x, i, w, first, last, out):
    """Add x @ w to four rows of the result from i on, for the weight's rows first to last.

    Sixteen products a number read: fewer rows or columns at a time would wait for memory.
    """
    z0, z1, z2, z3 = out[i], out[i + 1], out[i + 2], out[i + 3]
    x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
    p = first
    while p + 4 <= last:
        a0, b0, c0, d0 = x0[p], x0[p + 1], x0[p + 2], x0[p + 3]
        a1, b1, c1, d1 = x1[p], x1[p + 1], x1[p + 2], x1[p + 3]
        a2, b2, c2, d2 = x2[p], x2[p + 1], x2[p + 2], x2[p + 3]
        a3, b3, c3, d3 = x3[p], x3[p + 1], x3[p + 2], x3[p + 3]
        wa, wb, wc, wd = w[p], w[p + 1], w[p + 2], w[p + 3]
        for j in range(len(z0)):
            a, b, c, d = wa[j], wb[j], wc[j], wd[j]
            z0[j] = z0[j] + a0 * a + b0 * b + c0 * c + d0 * d
            z1[j] = z1[j] + a1 * a + b1 * b + c1 * c + d1 * d
            z2[j] = z2[j] + a2 * a + b2 * b + c2 * c + d2 * d
            z3[j] = z3[j] + a3 * a + b3 * b + c3 * c + d3 * d
        p += 4
    while p < last:
        a0, a1, a2, a3, wa = x0[p], x1[p], x2[p], x3[p], w[p]
        for j in range(len(z0)):
            z0[j] = z0[j] + a0 * wa[j]
            z1[j] = z1[j] + a1 * wa[j]
            z2[j] = z2[j] + a2 * wa[j]
            z3[j] = z3[j] + a3 * wa[j]
        p += 1


@inlined
def _add_product(x, i, w, first, last, out):
    """Do the same for one row, in the same order."""
    z0, x0 = out[i], x[i]
    p = first
    while p + 4 <= last:
        a0, b0, c0, d0 = x0[p], x0[p + 1], x0[p + 2], x0[p + 3]
        wa, wb, wc, wd = w[p], w[p + 1], w[p + 2], w[p + 3]
        for j in range(len(z0)):
            z0[j] = z0[j] + a0 * wa[j] + b0 * wb[j] + c0 * wc[j] + d0 * wd[j]
        p += 4
    while p < last:
        a0, wa = x0[p], w[p]
        for j in range(len(z0)):
            z0[j] = z0[j] + a0 * wa[j]
        p += 1


@compiled
def dense(x, weight, bias, kind, out):
    """Fill in the value of a layer: activation(x @ weight + bias) of every member.

    A row's value does not depend, to the last bit, on its place or on what it is computed with.

    Parameters
    ----------
    x : ndarray of shape (K, n, in) or (1, n, in), float32
        With one for all members if they see the same.
    weight : ndarray of shape (K, in, out), float32
    bias : ndarray of shape (K, 1, out), float32
    kind : int
        A value of :data:`KINDS`.
    out : ndarray of shape (K, n, out), float32
    """
    n_rows, n_out = x.shape[1], weight.shape[2]
    for k in range(len(weight)):
        rows, w, z = x[k if len(x) > 1 else 0], weight[k], out[k]
        for start in range(0, n_rows, _ROWS):
            end = min(start + _ROWS, n_rows)
            for i in range(start, end):
                for j in range(n_out):
                    z[i, j] = bias[k, 0, j]
            for first in range(0, len(w), _PANEL):
                last = min(first + _PANEL, len(w))
                i = start
                while i + 4 <= end:
                    _add_four_products(rows, i, w, first, last, z)
                    i += 4
                while i < end:
                    _add_product(rows, i, w, first, last, z)
                    i += 1
            for i in range(start, end):
                _activate(z[i], kind)


@inlined
def _block(flat, start, rows, columns):
    return flat[start : start + rows * columns].reshape(rows, columns)


@compiled
def _places(layers, rows):
    """Return where each layer's value begins in a space for so many rows, and the space's size."""
    places = np.zeros(len(layers.sizes) + 1, np.int64)
    for layer in range(len(layers.sizes)):
        places[layer + 1] = places[layer] + (rows * layers.sizes[layer] + 15) // 16 * 16
    return places


@compiled
def _space(size):
    """Return an array that begins where a line of the cache does, its content undefined.

    Otherwise every register's load may touch two lines, and a fit takes a third longer.
    """
    flat = np.empty(size + 16, np.float32)
    start = -(flat.ctypes.data // 4) % 16
    return flat[start : start + size]


@compiled
def _forward(values, layers, space, places, rows):
    """Fill in every layer's value from the first one's."""
    for layer in range(len(layers.kinds)):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        z = _block(space, places[layer + 1], rows, fan_out)
        weight = _block(values, layers.starts[2 * layer], fan_in, fan_out)
        start = layers.starts[2 * layer + 1]
        bias = values[start : start + fan_out]
        np.dot(_block(space, places[layer], rows, fan_in), weight, z)
        for i in range(rows):
            for j in range(fan_out):
                z[i, j] += bias[j]
            _activate(z[i], layers.kinds[layer])


@compiled
def _backward(values, grads, layers, space, slopes, places, rows, to_input):
    """Fill in the gradients of the parameters, and of every layer's value but the first one's.

    `slopes` holds the gradient of the last one; with `to_input` the first one's is filled in too.
    """
    for layer in range(len(layers.kinds) - 1, -1, -1):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        value = _block(space, places[layer + 1], rows, fan_out)
        slope = _block(slopes, places[layer + 1], rows, fan_out)
        start = layers.starts[2 * layer + 1]
        bias = grads[start : start + fan_out]
        bias[:] = _ZERO
        kind = layers.kinds[layer]
        if kind == _TANH:
            for i in range(rows):
                for j in range(fan_out):
                    s = slope[i, j] * (_ONE - value[i, j] * value[i, j])
                    slope[i, j] = s
                    bias[j] += s
        elif kind == _RELU:
            for i in range(rows):
                for j in range(fan_out):
                    s = slope[i, j] if value[i, j] > _ZERO else _ZERO
                    slope[i, j] = s
                    bias[j] += s
        elif kind == _SIGMOID:
            for i in range(rows):
                for j in range(fan_out):
                    s = slope[i, j] * (value[i, j] * (_ONE - value[i, j]))
                    slope[i, j] = s
                    bias[j] += s
        else:
            for i in range(rows):
                for j in range(fan_out):
                    bias[j] += slope[i, j]
        below = _block(space, places[layer], rows, fan_in)
        start = layers.starts[2 * layer]
        np.dot(below.T, slope, _block(grads, start, fan_in, fan_out))
        if layer > 0 or to_input:
            weight = _block(values, start, fan_in, fan_out)
            np.dot(slope, weight.T, _block(slopes, places[layer], rows, fan_in))


@compiled
def _adam(adam, layers, step):
    """Move a network's parameters by their gradients; `step` counts from 1."""
    for layer in range(len(layers.kinds)):
        fan_in, fan_out = layers.sizes[layer], layers.sizes[layer + 1]
        start = layers.starts[2 * layer]
        move(adam, start, start + fan_in * fan_out, step)
        start = layers.starts[2 * layer + 1]
        move(adam, start, start + fan_out, step)


@compiled
def move(adam, start, end, step):
    """Move the parameters in a part of the flat arrays by their gradients."""
    step_size = np.float32(adam.lr / (1.0 - adam.beta1**step))
    root = np.float32(np.sqrt(1.0 - adam.beta2**step))
    of_mean, of_square = np.float32(1.0 - adam.beta1), np.float32(1.0 - adam.beta2)
    keep, eps = np.float32(adam.beta2), np.float32(adam.eps)
    values, grads = adam.values[start:end], adam.grads[0, start:end]
    means, squares = adam.mean[start:end], adam.square[start:end]
    for piece in range(1, len(adam.grads)):
        more = adam.grads[piece, start:end]
        for i in range(end - start):
            grads[i] += more[i]
    for i in range(end - start):
        g = grads[i]
        mean = means[i] + of_mean * (g - means[i])
        square = keep * squares[i] + of_square * (g * g)
        mean = mean if abs(mean) > _TINY else _ZERO
        square = max(square, _TINY)
        means[i], squares[i] = mean, square
        values[i] -= step_size * mean / (np.sqrt(square) / root + eps)


@compiled
def _gather(data, order, bound, out):
    for i in range(len(order)):
        row = data[order[i]]
        for j in range(len(row)):
            out[i, j] = min(max(row[j], -bound), bound)


@compiled
def _share(n, n_parts, part):
    """Return first and last of n things, dealt out evenly, that are a part's."""
    size, more = n // n_parts, n % n_parts
    first = part * size + min(part, more)
    return first, first + size + (1 if part < more else 0)


@compiled
def _most_rows(n_rows, n_batches):
    return n_rows // n_batches + (1 if n_rows % n_batches else 0)


@compiled
def train_autoencoder(adam, layers, data, order, n_batches, bound):
    """Train a member for an epoch to reconstruct its rows by least squares.

    A batch is split into as many pieces as there are buffers for gradients.

    Parameters
    ----------
    adam : Adam
        Changed in place.
    layers : Layers
    data : ndarray of shape (n, d), float32
    order : ndarray of shape (n,), int64
        In which the rows are shown, dealt out evenly to the batches.
    n_batches : int
    bound : float32
        Values beyond ±bound are clipped, as input and as target.
    """
    n_pieces = len(adam.grads)
    places = _places(layers, _most_rows(len(order), n_batches))
    space, slopes = _space(places[-1]), _space(places[-1])
    for batch in range(n_batches):
        first, last = _share(len(order), n_batches, batch)
        rows = order[first:last]
        for piece in range(n_pieces):
            _learn(adam, layers, data, rows, piece, bound, space, slopes, places)
        _adam(adam, layers, adam.n_done + batch + 1)


@compiled
def learn_piece(adam, layers, data, rows, bound, piece):
    """Write the gradients of one piece of a batch, whose rows are given."""
    places = _places(layers, _most_rows(len(rows), len(adam.grads)))
    space, slopes = _space(places[-1]), _space(places[-1])
    _learn(adam, layers, data, rows, piece, bound, space, slopes, places)


@compiled
def _learn(adam, layers, data, batch, piece, bound, space, slopes, places):
    first, last = _share(len(batch), len(adam.grads), piece)
    n_rows, n_features = last - first, data.shape[1]
    _gather(data, batch[first:last], bound, _block(space, 0, n_rows, n_features))
    _forward(adam.values, layers, space, places, n_rows)
    end = places[len(layers.kinds)]
    x, fit, slope = space[: n_rows * n_features], space[end:], slopes[end:]
    weight = _TWO / np.float32(len(batch))
    for i in range(n_rows * n_features):
        slope[i] = (fit[i] - x[i]) * weight
    _backward(adam.values, adam.grads[piece], layers, space, slopes, places, n_rows, False)


@compiled
def train_variational_autoencoder(
    adam, encoder, decoder, data, order, noise, n_batches, beta, gaussian, variance, follow, floor
):
    """Train a member for an epoch to maximise its evidence lower bound.

    Parameters
    ----------
    adam : Adam
        Of both networks, changed in place.
    encoder, decoder : Layers
    data : ndarray of shape (n, d), float32
    order : ndarray of shape (n,), int64
    noise : ndarray of shape (n, latent_dim), float32
        Standard normal, of each row of the epoch.
    n_batches : int
    beta : float32
    gaussian : bool
        The likelihood; Bernoulli otherwise.
    variance : ndarray of shape (d,), float32
        Of a Gaussian likelihood, changed in place: a share `follow` of the way to each batch's mean
        square errors, but not below `floor`.
    follow, floor : float32

    Returns
    -------
    error, kl : float
        Added up over the rows.
    """
    n_rows, n_features = len(order), data.shape[1]
    latent_dim = noise.shape[1]
    most = _most_rows(n_rows, n_batches)
    places, out_places = _places(encoder, most), _places(decoder, most)
    space, slopes = _space(places[-1]), _space(places[-1])
    out_space, out_slopes = _space(out_places[-1]), _space(out_places[-1])
    last, out_last = places[len(encoder.kinds)], out_places[len(decoder.kinds)]
    everything = np.float32(np.inf)
    weights = np.empty(n_features, np.float32)
    error, kl, grads = 0.0, 0.0, adam.grads[0]
    for batch in range(n_batches):
        first, end = _share(n_rows, n_batches, batch)
        rows = end - first
        x = _block(space, 0, rows, n_features)
        _gather(data, order[first:end], everything, x)
        drawn = noise[first:end]
        _forward(adam.values, encoder, space, places, rows)
        code = _block(space, last, rows, 2 * latent_dim)
        z = _block(out_space, 0, rows, latent_dim)
        for i in range(rows):
            for j in range(latent_dim):
                z[i, j] = code[i, j] + np.exp(_HALF * code[i, latent_dim + j]) * drawn[i, j]
        _forward(adam.values, decoder, out_space, out_places, rows)
        fit = _block(out_space, out_last, rows, n_features)
        slope = _block(out_slopes, out_last, rows, n_features)
        share = _ONE / np.float32(rows)
        if gaussian:
            found, level = _gaussian_slopes(x, fit, slope, weights, variance, follow, floor)
            weight = _TWO * beta * level * share
        else:
            found = _bernoulli_slopes(x, fit, slope, weights)
            weight = beta * share
        error += found
        _backward(adam.values, grads, decoder, out_space, out_slopes, out_places, rows, True)
        of_z = _block(out_slopes, 0, rows, latent_dim)
        of_code = _block(slopes, last, rows, 2 * latent_dim)
        for i in range(rows):
            for j in range(latent_dim):
                mean, log_variance = code[i, j], code[i, latent_dim + j]
                spread = np.exp(_HALF * log_variance)
                excess = spread * spread - _ONE
                kl += 0.5 * (mean * mean + (excess - log_variance))
                of_code[i, j] = of_z[i, j] + mean * weight
                by_noise = of_z[i, j] * drawn[i, j] * spread * _HALF
                of_code[i, latent_dim + j] = by_noise + excess * (weight * _HALF)
        _backward(adam.values, grads, encoder, space, slopes, places, rows, False)
        step = adam.n_done + batch + 1
        _adam(adam, encoder, step)
        _adam(adam, decoder, step)
    return error, kl


@compiled
def _gaussian_slopes(x, fit, slope, weights, variance, follow, floor):
    """Follow the errors with the variance; write the gradient of the weighted errors.

    Returns the squared errors added up, and the variance's mean.
    """
    n_rows, n_features = x.shape
    share = _ONE / np.float32(n_rows)
    weights[:] = _ZERO
    for i in range(n_rows):
        for j in range(n_features):
            s = fit[i, j] - x[i, j]
            slope[i, j] = s
            weights[j] += s * s
    error, level = 0.0, 0.0
    for j in range(n_features):
        error += weights[j]
        variance[j] += follow * (max(weights[j] * share, floor) - variance[j])
        level += variance[j]
    mean = np.float32(level / n_features)
    for j in range(n_features):
        weights[j] = mean / variance[j] * (_TWO * share)
    for i in range(n_rows):
        for j in range(n_features):
            slope[i, j] *= weights[j]
    return error, mean


@compiled
def _bernoulli_slopes(x, logit, slope, products):
    """Write the gradient of the cross-entropies; return them added up.

    They are max(z, 0) − z x − log p, p the logistic function of |z|. Of p, between a half and one,
    products are taken, because logarithms cost more than all the rest.
    """
    n_rows, n_features = x.shape
    share = _ONE / np.float32(n_rows)
    sums = np.zeros(n_features, np.float32)
    error = 0.0
    products[:] = _ONE
    for i in range(n_rows):
        for j in range(n_features):
            z = logit[i, j]
            half = _HALF * _tanh(_HALF * abs(z))
            sums[j] += max(z, _ZERO) - z * x[i, j]
            products[j] *= _HALF + half
            slope[i, j] = (_HALF + (half if z > _ZERO else -half) - x[i, j]) * share
        if i % 64 == 63 or i == n_rows - 1:
            for j in range(n_features):
                error += sums[j] - np.log(products[j])
            sums[:] = _ZERO
            products[:] = _ONE
    return error
