// AdamW (Loshchilov & Hutter, arXiv 1711.05101) in PyTorch's order of operations: w *= 1 - lr·wd;
// m = β1 m + (1-β1) g; v = β2 v + (1-β2) g²; w -= lr/(1-β1^t) · m / (sqrt(v)/sqrt(1-β2^t) + eps)
struct AdamW {
  static constexpr const char* name = "adamw";
  static constexpr int states = 2;
  enum Factor { decay, beta1, rest1, beta2, rest2, rate, root_scale, eps, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    const V m = mul_add(f[rest1], g, mul(f[beta1], s[0]));
    const V v = mul_add(mul(f[rest2], g), g, mul(f[beta2], s[1]));
    const V denominator = mul_add(root(v), f[root_scale], f[eps]);
    w = neg_mul_add(f[rate], div(m, denominator), mul(w, f[decay]));
    s[0] = m;
    s[1] = v;
  }
};
