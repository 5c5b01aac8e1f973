# Special functions for f32 and f64: gamma and its relatives, inverse error function, modified Bessel functions.
"""The tables are Chebyshev expansions computed with 50 digits (mpmath). Sources of methods: Abramowitz and Stegun 6.3 (digamma),
6.5.31 (incomplete gamma function); Johansson, Rigorous high-precision computation of the Hurwitz zeta function (2013);
Giles, Approximating the erfinv function (GPU Computing Gems, 2011)."""

import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import _libm, power

PI = tl.constexpr(3.14159265358979323846)
# exp(-x) I0(x) and exp(-x) I1(x) / x for 0 <= x <= 8, in t = x / 4 - 1; sqrt(x) exp(-x) I(x) for x >= 8, in t = 16 / x - 1.
I0_SMALL = tl.constexpr(
    (
        0.3383976372047380425,
        -0.30468267234319839868,
        0.17162090152220877535,
        -0.094901097048047644421,
        0.049305284239670708488,
        -0.023737414805899468816,
        0.010546460394594998318,
        -0.0043243099950505759443,
        0.0016394756169413357984,
        -0.00057637557453858236588,
        0.00018850288509584165573,
        -0.00005754195010082103704,
        0.000016448448070728897089,
        -4.4167383584587505636e-6,
        1.1173875391201037182e-6,
        -2.6707938539406117339e-7,
        6.0469950225419189493e-8,
        -1.3000250099862480421e-8,
        2.6598237246823866503e-9,
        -5.1897956016352629067e-10,
        9.6758090353732369122e-11,
        -1.7268262914415557072e-11,
        2.9550526631296398346e-12,
        -4.8564467831119294609e-13,
        7.6761854986049356169e-14,
        -1.1685332877993451681e-14,
        1.7153912855551330306e-15,
        -2.4312798465479546936e-16,
    )
)
I0_LARGE = tl.constexpr(
    (
        0.4022452055070544158,
        0.0033691164782556940899,
        0.000068897583469168239843,
        2.891370520834756483e-6,
        2.0489185894690637418e-7,
        2.2666689904981780646e-8,
        3.3962320257083863452e-9,
        4.9406023882249695891e-10,
        1.1889147107846438342e-11,
        -3.1499165279632413645e-11,
        -1.3215811840447713119e-11,
        -1.7941785315068061178e-12,
        7.1801244513836662337e-13,
        3.8527783827421427011e-13,
        1.5400862175214098269e-14,
        -4.1505693472872220866e-14,
        -9.5548466988283076487e-15,
        3.8116806693526224207e-15,
        1.7725601330565263836e-15,
        -3.4254856196772191346e-16,
        -2.8276239805165834849e-16,
        3.4612228676974610931e-17,
        4.465621420296759999e-17,
        -4.8305044859441820713e-18,
    )
)
I1_SMALL = tl.constexpr(
    (
        0.12629359322181682741,
        -0.17641651835783405515,
        0.10264365868984709538,
        -0.052945981208094991427,
        0.024726449030626516828,
        -0.010564084894626198156,
        0.0041564229443128881567,
        -0.001513572450631253149,
        0.0005122859561685757729,
        -0.00016176081582589674559,
        0.000047815651075500542264,
        -0.000013273163656039435828,
        3.4702513081376784767e-6,
        -8.5687202646954547407e-7,
        2.0032947535521352623e-7,
        -4.4450591287963280807e-8,
        9.3815373864957717839e-9,
        -1.8872497517228292879e-9,
        3.625590281552117037e-10,
        -6.6634897235020277422e-11,
        1.1736186298890901631e-11,
        -1.9839743977649437152e-12,
        3.2237933659455747098e-13,
        -5.0421855047279116871e-14,
        7.6006842947354069341e-15,
        -1.105596947735386308e-15,
        1.5536319577362004689e-16,
        -2.1114212143581660782e-17,
    )
)
I1_LARGE = tl.constexpr(
    (
        0.38928811750914006024,
        -0.0097610974913614684078,
        -0.00011058893876262371629,
        -3.8825648088776903935e-6,
        -2.5122362378702089253e-7,
        -2.6314688468895195068e-8,
        -3.835380385964237022e-9,
        -5.5897434621965838069e-10,
        -1.8974958123505412345e-11,
        3.2526035830154882386e-11,
        1.4125807436613781332e-11,
        2.0356285441470895072e-12,
        -7.1985517762459085121e-13,
        -4.0835511110921973182e-13,
        -2.101541842772664313e-14,
        4.2724400167119513543e-14,
        1.0420276984128802764e-14,
        -3.8144030724370078048e-15,
        -1.8803547755107824485e-15,
        3.3082023109209282827e-16,
        2.9626289976459501391e-16,
        -3.2095259219934239588e-17,
        -4.6503053684893583256e-17,
        4.4143483230717079499e-18,
    )
)
# digamma(x) / (x - its root) for 1 <= x <= 2, in t = 2 x - 3.
DIGAMMA = tl.constexpr(
    (
        0.98357026044156698801,
        -0.22706408633464439669,
        0.033368899023930108972,
        -0.0053200772715965474438,
        0.00087886569378205053326,
        -0.00014773492650606043282,
        0.00002506054346835914444,
        -4.272103402999332207e-6,
        7.3027692724659230493e-7,
        -1.2502886813559595515e-7,
        2.1425009322359473734e-8,
        -3.6732959185651790393e-9,
        6.2997172361089309069e-10,
        -1.0805930288832660114e-10,
        1.8537351920536378898e-11,
        -3.1802353658255300096e-12,
        5.4561475703227941847e-13,
        -9.3609931310364381561e-14,
        1.6060646362950750099e-14,
        -2.7555431377438813107e-15,
        4.7277361786019113911e-16,
        -8.1114842034650900328e-17,
        1.3917077694741540651e-17,
        -2.3877901082188627e-18,
    )
)
# log(gamma(x)) / ((x - 1) (x - 2)) for 1 <= x <= 2 in powers of t = 2 x - 3, to fourteen digits.
LGAMMA = tl.constexpr(
    (
        0.48312895054098169,
        -0.072979947957069462,
        0.015727850268511797,
        -0.0039135609416092564,
        0.0010498186678746813,
        -0.00029455064626781287,
        8.5100868993090327e-5,
        -2.5094671762731625e-5,
        7.5115679946364144e-6,
        -2.2731228952340974e-6,
        6.9434420765944785e-7,
        -2.1593716212090144e-7,
        6.7058803912432091e-8,
        -1.8477055709264125e-8,
        5.6622441808802801e-9,
        -3.1477053319614963e-9,
        1.0203875004865459e-9,
    )
)


@triton.jit
def chebyshev(t, TABLE: tl.constexpr, TERMS: tl.constexpr):
    """The sum of the first TERMS of TABLE[i] T_i(t), by Clenshaw's recurrence."""
    b1 = t * 0.0
    b2 = t * 0.0
    for i in tl.static_range(TERMS - 1):
        b0 = 2.0 * t * b1 - b2 + TABLE[TERMS - 1 - i]
        b2 = b1
        b1 = b0
    return t * b1 - b2 + TABLE[0]


@triton.jit
def _log(x):
    """The logarithm of f64 for f32: of x = 2^e m with m about one, by the series of the inverse hyperbolic tangent. x > 0,
    not denormal; infinity is a large number."""
    shifted = x.to(tl.int64, bitcast=True) + (
        0x3FF0000000000000 - 0x3FE6A09E667F3BCD
    )  # the latter is sqrt(1/2)
    e = ((shifted >> 52) - 1023).to(tl.float64)
    m = ((shifted & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD).to(tl.float64, bitcast=True)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = z * 0.0 + 2.0 / 17.0
    for i in tl.static_range(7):
        p = p * z + 2.0 / (15 - 2 * i)
    return e * 0.6931471805599453 + (p * z * s + 2.0 * s)


@triton.jit
def _exp(x):
    """The exponential of f64 for f32: zero and infinity beyond the range of f32."""
    inside = tl.abs(x) < 700.0
    n = tl.where(inside, tl.floor(x * 1.4426950408889634 + 0.5), 0.0)
    r = x - n * 0.6931471805599453
    p = r * 0.0 + 1.0 / 39916800.0
    p = (p * r + 1.0 / 3628800.0) * r + 1.0 / 362880.0
    p = (p * r + 1.0 / 40320.0) * r + 1.0 / 5040.0
    p = (p * r + 1.0 / 720.0) * r + 1.0 / 120.0
    p = (p * r + 1.0 / 24.0) * r + 1.0 / 6.0
    p = (p * r + 0.5) * r + 1.0
    p = p * r + 1.0
    power = ((n.to(tl.int64) + 1023) << 52).to(tl.float64, bitcast=True)
    return tl.where(inside, p * power, tl.where(x < 0, 0.0, x * float("inf")))


@triton.jit
def _log_gamma(x):
    """log(gamma(x)) in f64 for f32, x >= 1/2: from 6 on by Stirling's series; below it x comes down into [1, 2) by recurrence."""
    y = x
    product = x * 0.0 + 1.0
    for _ in tl.static_range(4):
        step = y >= 2.0
        y = tl.where(step, y - 1.0, y)
        product = tl.where(step, product * y, product)
    product = tl.where(x < 1.0, 1.0 / x, product)
    y = tl.where(x < 1.0, x + 1.0, y)
    far = x >= 6.0
    log = _log(tl.where(far, x, product))
    t = 2.0 * y - 3.0
    p = t * 0.0 + LGAMMA[16]
    for i in tl.static_range(16):
        p = p * t + LGAMMA[15 - i]
    near = p * ((y - 1.0) * (y - 2.0)) + log
    r = 1.0 / x
    z = r * r
    q = z * 6.41025641025641025641e-3 - 1.91752691752691752692e-3
    q = (q * z + 8.41750841750841750842e-4) * z - 5.95238095238095238095e-4
    q = (q * z + 7.93650793650793650794e-4) * z - 2.77777777777777777778e-3
    q = q * z + 8.33333333333333333333e-2
    return tl.where(far, (x - 0.5) * (log - 1.0) + 0.41893853320467274178 + q * r, near)


@triton.jit
def lgamma(x):
    """log |gamma(x)|; in f32 reflected below one half."""
    if x.dtype == tl.float64:
        value = _libm("lgamma", x)
    else:
        w = tl.where(tl.abs(x) < float("inf"), x, 1.0).to(tl.float64)
        low = w < 0.5
        value = _log_gamma(tl.where(low, 1.0 - w, w))
        r = w - tl.floor(w + 0.5)
        z = r * r * (PI * PI)
        p = z * 0.0 + 1.0
        for i in tl.static_range(8):
            p = 1.0 - p * z * (1.0 / ((16 - 2 * i) * (17 - 2 * i)))
        sine = tl.abs(r) * p  # sin(pi r) / pi
        pole = sine == 0.0
        value = tl.where(low, -_log(tl.where(pole, 1.0, sine)) - value, value)
        value = tl.where((low & pole) | (tl.abs(x) == float("inf")), float("inf"), tl.where(x == x, value, x))
        value = value.to(tl.float32)
    return value


@triton.jit
def _recurrence(x):
    """(y, sum): x or 1 - x moved up to y >= 10 by y + 1, and the sum of 1 / y of the steps."""
    y = x
    shift = x * 0.0
    for _ in tl.static_range(10):
        step = y < 10.0
        shift += tl.where(step, 1.0 / tl.where(step, y, 1.0), 0.0)
        y = tl.where(step, y + 1.0, y)
    return y, shift


@triton.jit
def digamma(x):
    """The logarithmic derivative of gamma: near its root a series in the distance to it; else recurrence and the
    asymptotic series, reflected below zero."""
    y, shift = _recurrence(tl.where(x < 0, 1.0 - x, x))
    z = 1.0 / (y * y)
    p = z * 8.33333333333333333333e-2 - 2.10927960927960927961e-2
    p = (p * z + 7.57575757575757575758e-3) * z - 4.16666666666666666667e-3
    p = (p * z + 3.96825396825396825397e-3) * z - 8.33333333333333333333e-3
    p = (p * z + 8.33333333333333333333e-2) * z
    value = tl.log(y) - 0.5 / y - p - shift
    angle = (x - tl.floor(x + 0.5)) * PI
    value = tl.where(x < 0, value - PI * tl.cos(angle) / tl.sin(angle), value)
    if x.dtype == tl.float64:
        distance = (x - 1.4616321449683622) - 9.549995429965697e-17
    else:
        distance = (x - 1.4616321325302124) - 1.2438149938918909e-08
    value = tl.where((x >= 1.0) & (x <= 2.0), distance * chebyshev(2.0 * x - 3.0, DIGAMMA, 24), value)
    value = tl.where(x == float("inf"), x, value)
    value = tl.where((x < 0) & (x == tl.floor(x)), float("nan"), value)
    return tl.where(x == 0, -1.0 / x, value)


@triton.jit
def zeta(s, q):
    """Hurwitz's zeta function, the sum of (k + q)^-s over k >= 0, by Euler and Maclaurin; s > 1, q > 0."""
    total = q * 0.0
    a = q
    for _ in tl.static_range(10):
        total += power(a, -s)
        a += 1.0
    b = power(a, -s)
    z = 1.0 / (a * a)
    # B_2j / (2j)!, rising factorials of s
    tail = 8.33333333333333333333e-2 * s / a
    term = s * (s + 1.0) * (s + 2.0) * z / a
    tail -= 1.38888888888888888889e-3 * term
    term *= (s + 3.0) * (s + 4.0) * z
    tail += 3.30687830687830687831e-5 * term
    term *= (s + 5.0) * (s + 6.0) * z
    tail -= 8.26719576719576719577e-7 * term
    term *= (s + 7.0) * (s + 8.0) * z
    tail += 2.08767569878680989792e-8 * term
    term *= (s + 9.0) * (s + 10.0) * z
    tail -= 5.28419013868749318484e-10 * term
    term *= (s + 11.0) * (s + 12.0) * z
    tail += 1.33825365306846788328e-11 * term
    return total + b * (a / (s - 1.0) + 0.5 + tail)


@triton.jit
def polygamma(x, s, factor, sign):
    """factor zeta(s, x): the derivative of digamma for s = order + 1, factor = (-1)^(order + 1) order!. Below zero the
    sum splits at the pole nearest to zero; sign = (-1)^s."""
    s = s.to(x.dtype) + x * 0.0
    below = x < 0
    size = tl.abs(x)
    part = size - tl.floor(size)
    first = zeta(s, tl.where(below, part, size))
    value = first
    if tl.max(below.to(tl.int32), axis=0) > 0:
        left = sign.to(x.dtype) * (first - zeta(s, size + 1.0)) + zeta(s, 1.0 - part)
        value = tl.where(below, left, first)
    value = factor.to(x.dtype) * value
    value = tl.where(x == float("inf"), 0.0, value)
    value = tl.where(x != x, x, value)
    return tl.where((x <= 0) & (x == tl.floor(x)), float("inf"), value)


@triton.jit
def erfinv(x):
    """Giles' polynomials; in f64 they start three steps of Halley's method."""
    w = -tl.log((1.0 - x) * (1.0 + x))
    near = w - 2.5
    p = near * 2.81022636e-08 + 3.43273939e-07
    p = (p * near - 3.5233877e-06) * near - 4.39150654e-06
    p = (p * near + 0.00021858087) * near - 0.00125372503
    p = (p * near - 0.00417768164) * near + 0.246640727
    p = p * near + 1.50140941
    far = tl.sqrt(w) - 3.0
    q = far * -0.000200214257 + 0.000100950558
    q = (q * far + 0.00134934322) * far - 0.00367342844
    q = (q * far + 0.00573950773) * far - 0.0076224613
    q = (q * far + 0.00943887047) * far + 1.00167406
    q = q * far + 2.83297682
    y = tl.where(w < 5.0, p, q) * x
    if x.dtype == tl.float64:
        size = tl.abs(x)
        # Beyond the polynomials' range: erfc(r) is about exp(-r^2) / (r sqrt(pi)).
        tail = -tl.log(1.0 - size)
        r = tl.sqrt(tail - tl.log(1.77245385090551602730 * tl.sqrt(tl.where(tail > 10.0, tail - 2.0, 8.0))))
        r = tl.where(w < 15.0, tl.abs(y), r)
        for _ in tl.static_range(3):
            # 1 - size is exact from 0.5 on, where the complement is the smaller one.
            error = tl.where(size > 0.5, (1.0 - size) - _libm("erfc", r), tl.erf(r) - size)
            step = error / (1.12837916709551257390 * tl.exp(-r * r))
            r -= step / (1.0 + r * step)
        r = tl.where(size < 1e-150, size * 0.88622692545275801365, r)
        y = tl.where(x < 0, -r, r)
    y = tl.where(tl.abs(x) == 1.0, x * float("inf"), y)
    return tl.where(tl.abs(x) > 1.0, float("nan"), y)


@triton.jit
def _bessel(x, ORDER: tl.constexpr):
    """exp(-|x|) I0(x), or I1: in f64, since the long recurrences would lose a digit, with the terms that the type of x needs."""
    size = tl.abs(x).to(tl.float64)
    far = tl.where(size > 8.0, size, 8.0)
    near = tl.where(size > 8.0, 8.0, size) * 0.25 - 1.0
    double: tl.constexpr = x.dtype == tl.float64
    if ORDER == 0:
        large = chebyshev(16.0 / far - 1.0, I0_LARGE, 24 if double else 9)
        small = chebyshev(near, I0_SMALL, 28 if double else 20)
    else:
        large = chebyshev(16.0 / far - 1.0, I1_LARGE, 24 if double else 9)
        small = chebyshev(near, I1_SMALL, 28 if double else 20) * size
    value = tl.where(size > 8.0, large / tl.sqrt(far), small)
    if ORDER == 1:
        value = tl.where(x < 0, -value, value)
    return tl.where(x != x, x, value)


@triton.jit
def i0e(x):
    """exp(-|x|) I0(x)."""
    return _bessel(x, 0)


@triton.jit
def _exp_half(x):
    """exp(|x| / 2) in f64."""
    half = tl.abs(x).to(tl.float64) * 0.5
    if x.dtype == tl.float64:
        value = tl.exp(half)
    else:
        value = _exp(half)
    return value


@triton.jit
def i0(x):
    """The modified Bessel function of the first kind of order 0."""
    half = _exp_half(x)
    return (i0e(x) * half) * half


@triton.jit
def i1e(x):
    """exp(-|x|) I1(x)."""
    return _bessel(x, 1)


@triton.jit
def i1(x):
    """The modified Bessel function of the first kind of order 1."""
    half = _exp_half(x)
    return (i1e(x) * half) * half


@triton.jit
def _gamma_series(a, x, scale, EPS: tl.constexpr):
    """The lower incomplete gamma function over gamma(a), by its power series: x <= a, or x small."""
    r = a
    term = x * 0.0 + 1.0
    total = term
    going = tl.max((term > 0).to(tl.int32), axis=0) > 0
    count = 0
    while going:
        r += 1.0
        term *= x / r
        total += term
        count += 1
        going = (count < 4000) & (tl.max((term > total * (EPS / 2)).to(tl.int32), axis=0) > 0)
    return total * scale / a


@triton.jit
def _gamma_fraction(a, x, scale, EPS: tl.constexpr):
    """The upper incomplete gamma function over gamma(a), by Lentz's evaluation of its continued fraction: x > a, x not small."""
    tiny = 1e-30
    b = x + 1.0 - a
    c = x * 0.0 + 1.0 / tiny
    d = 1.0 / tl.where(b == 0, tiny, b)
    h = d
    i = x * 0.0
    left = (x == x).to(tl.int32)
    count = 0
    going = count < 1
    while going:
        i += 1.0
        an = -i * (i - a)
        b += 2.0
        d = an * d + b
        d = 1.0 / tl.where(tl.abs(d) < tiny, tiny, d)
        c = b + an / c
        c = tl.where(tl.abs(c) < tiny, tiny, c)
        delta = d * c
        h = tl.where(left > 0, h * delta, h)
        left = tl.where(tl.abs(delta - 1.0) > EPS, left, 0)
        count += 1
        going = (count < 4000) & (tl.max(left, axis=0) > 0)
    return h * scale


@triton.jit
def _gamma_density(a, x, SHORT: tl.constexpr = False):
    """x^a exp(-x) / gamma(a), in f64 or (SHORT) to eleven digits; from a = 10 on by Stirling's series, so that the large logarithms do not cancel."""
    if SHORT:
        direct = a * _exp(a * _log(x) - x - _log_gamma(a + 1.0))
        far = _log(x / a)
    else:
        direct = tl.exp(a * tl.log(x) - x - _libm("lgamma", a))
        far = tl.log(x / a)
    mu = (x - a) / a
    s = mu / (2.0 + mu)
    z = s * s
    p = z * 0.0 + 1.0 / 37.0
    for i in tl.static_range(17):
        p = p * z + 1.0 / (35 - 2 * i)
    # mu - log(1 + mu), for 1 + mu near 1 by log(1 + mu) = 2 artanh(s)
    drop = tl.where(tl.abs(s) < 0.34, mu * s - 2.0 * s * z * p, mu - far)
    r = 1.0 / (a * a)
    q = r * 6.41025641025641025641e-3 - 1.91752691752691752692e-3
    q = (q * r + 8.41750841750841750842e-4) * r - 5.95238095238095238095e-4
    q = (q * r + 7.93650793650793650794e-4) * r - 2.77777777777777777778e-3
    q = (q * r + 8.33333333333333333333e-2) / a
    exponent = -a * drop - q
    stirling = (_exp(exponent) if SHORT else tl.exp(exponent)) * tl.sqrt(a * 0.15915494309189533577)
    return tl.where(a < 10.0, direct, stirling)


@triton.jit
def gammaincc(a, x):
    """The upper incomplete gamma function over gamma(a), in f64."""
    return _gamma_upper(a, x, 2.3e-16)


@triton.jit
def gammaincc_of_f32(a, x):
    """The same to the digits of f32; what is nearly one and subtracted from one keeps some more."""
    return _gamma_upper(a, x, 1e-11)


@triton.jit
def _gamma_upper(a, x, EPS: tl.constexpr):
    """By the series where x is at most a, or small, else by the continued fraction; to a relative error of EPS."""
    good = (a > 0) & (x > 0) & (a < float("inf")) & (x < float("inf"))
    sa = tl.where(good, a, 1.0)
    sx = tl.where(good, x, 1.0)
    scale = _gamma_density(sa, sx, EPS > 1e-12)
    low = (sx <= sa) | (sx < (0.1 if EPS < 1e-12 else 1.0))
    # Each formula sees a harmless point where the other one holds, so that none keeps the loop going.
    series = _gamma_series(tl.where(low, sa, 1.0), tl.where(low, sx, 0.5), scale, EPS)
    fraction = _gamma_fraction(tl.where(low, 1.0, sa), tl.where(low, 2.0, sx), scale, EPS)
    value = tl.where(low, 1.0 - series, fraction)
    value = tl.where(x == 0, 1.0, value)
    value = tl.where((x == float("inf")) & (a > 0), 0.0, value)
    value = tl.where((a == 0) & (x > 0), 0.0, value)
    value = tl.where((a == float("inf")) & (x < float("inf")), 1.0, value)
    return tl.where((x < 0) | (a < 0) | ((a == 0) & (x == 0)) | (x != x) | (a != a), float("nan"), value)


# ---- gradients: x, the operand (out, the result), d, the gradient of the result ----


@triton.jit
def lgamma_grad(x, d):
    return d * digamma(x)


@triton.jit
def erfinv_grad_out(out, d):
    return 0.88622692545275801365 * d * tl.exp(out * out)


@triton.jit
def polygamma_grad(x, d, s, factor, sign):
    return d * polygamma(x, s, factor, sign)


@triton.jit
def i0_grad(x, d):
    return d * i1(x)


@triton.jit
def i0e_grad(x, out, d):
    return d * (i1e(x) - tl.where(x < 0, -out, tl.where(x == 0, 0.0, out)))


@triton.jit
def _over(y, x):
    """y / x, and one half at zero, its limit there for I1."""
    return tl.where(x == 0, 0.5, y / tl.where(x == 0, 1.0, x))


@triton.jit
def i1_grad(x, out, d):
    return d * (i0(x) - _over(out.to(tl.float64), x))


@triton.jit
def i1e_grad(x, out, d):
    sign = tl.where(x < 0, -1.0, tl.where(x == 0, 0.0, 1.0))
    return d * (i0e(x) - out * sign - _over(out.to(tl.float64), x))


@triton.jit
def gammaincc_grad(a, x, d):
    return -d * _gamma_density(a, x) / x
