// Activation functions on vectors. It is included once per instruction set (see hwy/foreach_target.h).
#if defined(COLLIE_KERNELS_CPU_ACTIVATIONS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef COLLIE_KERNELS_CPU_ACTIVATIONS_INL_HPP
#undef COLLIE_KERNELS_CPU_ACTIVATIONS_INL_HPP
#else
#define COLLIE_KERNELS_CPU_ACTIVATIONS_INL_HPP
#endif

#include "kernels/activation.hpp"
#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

// A function's value at x, and its derivative there.
struct ValueAndSlope {
  Vec value, slope;
};

// With s = sigmoid(x): the derivative is s (1 + x (1 - s)).
struct Silu {
  HWY_INLINE Vec value(Vec x) const { return hn::Mul(x, sigmoid(x)); }
  HWY_INLINE ValueAndSlope both(Vec x) const {
    const Vec one = constant(1), s = sigmoid(x);
    return {hn::Mul(x, s), hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one))};
  }
};

// Keeps its digits where Φ is small: Φ(-a) = e^(-a²/2) h(a) with a smooth h, 0 <= a. With t = 1 / (1 + 0.35
// a), h / t is a polynomial of t, fitted to 3e-8 for a <= 14 by reweighted least squares (the largest
// relative error in float is 4e-7). Beyond 14, e^(-a²/2) is 0.
struct Gelu {
  struct Normal {
    Vec distribution, exponential;  // Φ(x), e^(-x²/2)
  };
  static HWY_INLINE Normal normal(Vec x) {
    const Vec one = constant(1), a = hn::Min(hn::Abs(x), constant(15));
    const Vec t = hn::Div(one, hn::MulAdd(a, constant(0.35F), one));
    Vec p = constant(-0.0291460774F);
    for (const float coefficient : {0.143972409F, -0.25571571F, 0.159175806F, -0.0231109538F, 0.105508471F,
                                    0.119832751F, 0.139861885F, 0.139621403F})
      p = hn::MulAdd(p, t, constant(coefficient));
    // a² in two parts: rounding a large exponent would cost its exponential most of the digits.
    const Vec square = hn::Mul(a, a), rest = hn::MulSub(a, a, square), half = constant(-0.5F);
    const Vec e = hn::Exp(Floats(), hn::Mul(square, half));
    const Vec exponential = hn::MulAdd(hn::Mul(e, rest), half, e);
    const Vec tail = hn::Mul(hn::Mul(exponential, t), p);
    return {hn::IfThenElse(hn::Lt(x, hn::Zero(Floats())), tail, hn::Sub(one, tail)), exponential};
  }
  HWY_INLINE Vec value(Vec x) const { return hn::Mul(x, normal(x).distribution); }
  HWY_INLINE ValueAndSlope both(Vec x) const {
    const Normal at = normal(x);
    const Vec density = hn::Mul(at.exponential, constant(0.39894228F));  // 1 / √(2π)
    return {hn::Mul(x, at.distribution), hn::MulAdd(x, density, at.distribution)};
  }
};

// (1 + tanh(u)) / 2 is the sigmoid of 2u.
struct GeluTanh {
  static constexpr float twice_root = 1.5957691F, cubic = 0.044715F;  // 2 √(2/π)
  static HWY_INLINE Vec distribution(Vec x) {
    const Vec square = hn::Mul(x, x);
    const Vec inner = hn::MulAdd(hn::Mul(square, constant(cubic)), x, x);
    return sigmoid(hn::Mul(inner, constant(twice_root)));
  }
  HWY_INLINE Vec value(Vec x) const { return hn::Mul(x, distribution(x)); }
  HWY_INLINE ValueAndSlope both(Vec x) const {
    const Vec one = constant(1), s = distribution(x), value = hn::Mul(x, s);
    // Beyond 20, s (1 - s) is 0, and must not be multiplied by an infinity.
    const Vec bounded = hn::Min(hn::Abs(x), constant(20));
    const Vec inner = hn::MulAdd(hn::Mul(bounded, bounded), constant(3 * cubic), one);
    const Vec growth = hn::Mul(hn::Mul(value, hn::Sub(one, s)), constant(twice_root));
    return {value, hn::MulAdd(growth, inner, s)};
  }
};

struct Relu {
  // NaN stays NaN: it is not below 0.
  HWY_INLINE Vec value(Vec x) const {
    return hn::IfThenElse(hn::Lt(x, hn::Zero(Floats())), hn::Zero(Floats()), x);
  }
  HWY_INLINE ValueAndSlope both(Vec x) const {
    return {value(x), hn::IfThenElse(hn::Le(x, hn::Zero(Floats())), hn::Zero(Floats()), constant(1))};
  }
};

// 1 - sigmoid(x) is sigmoid(-x), which keeps the digits of what is small.
struct Sigmoid {
  HWY_INLINE Vec value(Vec x) const { return sigmoid(x); }
  HWY_INLINE ValueAndSlope both(Vec x) const {
    const Vec s = sigmoid(x);
    return {s, hn::Mul(s, sigmoid(hn::Neg(x)))};
  }
};

// 1 - tanh(x)² is 4 sigmoid(2x) sigmoid(-2x).
struct Tanh {
  HWY_INLINE Vec value(Vec x) const { return hn::Tanh(Floats(), x); }
  HWY_INLINE ValueAndSlope both(Vec x) const {
    const Vec twice = hn::Add(x, x);
    return {value(x), hn::Mul(constant(4), hn::Mul(sigmoid(twice), sigmoid(hn::Neg(twice))))};
  }
};

// Calls f with the function's type.
template <class F>
HWY_INLINE void with_activation(Activation activation, F f) {
  switch (activation) {
    case Activation::silu:
      return f(Silu());
    case Activation::gelu:
      return f(Gelu());
    case Activation::gelu_tanh:
      return f(GeluTanh());
    case Activation::relu:
      return f(Relu());
    case Activation::sigmoid:
      return f(Sigmoid());
    case Activation::tanh:
      return f(Tanh());
  }
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
