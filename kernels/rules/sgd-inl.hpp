// Stochastic gradient descent as torch.optim.SGD: g += decay · w; w -= lr · g
struct Sgd {
  static constexpr const char* name = "sgd";
  static constexpr int states = 0;
  enum Factor { decay, rate, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V*) {
    w = neg_mul_add(f[rate], mul_add(f[decay], w, g), w);
  }
};

// With momentum (Polyak): g += decay · w; b = momentum · b + (1 - dampening) · g; w -= lr · b
struct SgdMomentum {
  static constexpr const char* name = "sgd with momentum";
  static constexpr int states = 1;
  enum Factor { decay, rate, momentum, rest, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    s[0] = mul_add(f[rest], mul_add(f[decay], w, g), mul(f[momentum], s[0]));
    w = neg_mul_add(f[rate], s[0], w);
  }
};

// With Nesterov's momentum (Sutskever et al., ICML 2013), as PyTorch has it:
// g += decay · w; b = momentum · b + g; w -= lr · (g + momentum · b)
struct SgdNesterov {
  static constexpr const char* name = "sgd with Nesterov's momentum";
  static constexpr int states = 1;
  enum Factor { decay, rate, momentum, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    const V decayed = mul_add(f[decay], w, g);
    s[0] = mul_add(f[momentum], s[0], decayed);
    w = neg_mul_add(f[rate], mul_add(f[momentum], s[0], decayed), w);
  }
};
