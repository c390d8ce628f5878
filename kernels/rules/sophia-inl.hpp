// Sophia (Liu et al., arXiv 2305.14342): m = β1 m + (1-β1) g; w = w - lr·wd · w - lr · clip(m / (ρ h), 1).
// The decay is subtracted because a factor near 1 would be rounded the same way in every step. `tiny` keeps
// the quotient defined where the curvature h is 0; the clip makes a sign of it there.
struct Sophia {
  static constexpr const char* name = "sophia";
  static constexpr int states = 2;
  static constexpr unsigned wide_states = 2;  // the estimate updates h in the place of a weight
  enum Factor { decay, beta1, rest1, rho, tiny, rate, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    const V m = mul_add(f[rest1], g, mul(f[beta1], s[0]));
    const V ratio = div(m, mul_add(f[rho], s[1], f[tiny]));
    w = neg_mul_add(f[rate], clip(ratio), neg_mul_add(f[decay], w, w));
    s[0] = m;
  }
};

// The curvature h that the rule above divides by, in the place of the weight: h = β2 h + (1-β2) B g², where g
// is the gradient of a mean of B losses whose labels the model has sampled (the Gauss-Newton-Bartlett
// estimator, section 2.3). rest = (1-β2) B.
struct SophiaEstimate {
  static constexpr const char* name = "sophia's estimate";
  static constexpr int states = 0;
  enum Factor { beta2, rest, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& h, V g, V*) {
    h = mul_add(mul(f[rest], g), g, mul(f[beta2], h));
  }
};
