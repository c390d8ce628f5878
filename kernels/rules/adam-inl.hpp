// Adam (Kingma & Ba, arXiv 1412.6980) with L2 decay, in the order of torch.optim.Adam: g += decay · w;
// m = β1 m + (1-β1) g; v = β2 v + (1-β2) g²; w -= lr/(1-β1^t) · m / (sqrt(v)/sqrt(1-β2^t) + eps)
struct Adam {
  static constexpr const char* name = "adam";
  static constexpr int states = 2;
  enum Factor { decay, beta1, rest1, beta2, rest2, rate, root_scale, eps, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    const V decayed = mul_add(f[decay], w, g);
    s[0] = mul_add(f[rest1], decayed, mul(f[beta1], s[0]));
    s[1] = mul_add(mul(f[rest2], decayed), decayed, mul(f[beta2], s[1]));
    w = neg_mul_add(f[rate], div(s[0], mul_add(root(s[1]), f[root_scale], f[eps])), w);
  }
};
