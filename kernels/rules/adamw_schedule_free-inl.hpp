// Schedule-free AdamW (Defazio et al., arXiv 2405.15682, algorithm 1) without its average x, which follows
// from y and z: y = (1-β1) z + β1 x. The weight is y, where the gradient is taken. v = β2 v + (1-β2) g²; u =
// g / (sqrt(v)/sqrt(1-β2^t) + eps) + decay · y; y += c (z - y) - rate (1 - β1 (1-c)) u; z -= rate · u, with c
// = the weight of this step in x.
struct AdamWScheduleFree {
  static constexpr const char* name = "adamw_schedule_free";
  static constexpr int states = 2;
  static constexpr unsigned wide_states =
      1;  // z is a weight: steps smaller than its last place would be lost
  enum Factor { decay, beta2, rest2, root_scale, eps, share, pull, rate, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    const V v = mul_add(mul(f[rest2], g), g, mul(f[beta2], s[1]));
    const V direction = mul_add(f[decay], w, div(g, mul_add(root(v), f[root_scale], f[eps])));
    w = neg_mul_add(f[pull], direction, mul_add(f[share], sub(s[0], w), w));
    s[0] = neg_mul_add(f[rate], direction, s[0]);
    s[1] = v;
  }
};
