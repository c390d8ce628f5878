// Lion (Chen et al., arXiv 2302.06675): w = (1 - lr·wd) w - lr · sign(β1 m + (1-β1) g); m = β2 m + (1-β2) g
struct Lion {
  static constexpr const char* name = "lion";
  static constexpr int states = 1;
  enum Factor { decay, beta1, rest1, beta2, rest2, rate, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    const V direction = sign(mul_add(f[rest1], g, mul(f[beta1], s[0])));
    w = neg_mul_add(f[rate], direction, mul(w, f[decay]));
    s[0] = mul_add(f[rest2], g, mul(f[beta2], s[0]));
  }
};
