// Muon (Jordan et al., 2024; Liu et al., arXiv 2502.16982) is elementwise but for the orthogonal matrix
// (optim/muon.cpp) that stands between this formula and a step of that matrix, which is Lomo's formula.
//
// The running mean of gradients, and w = the direction that is made orthogonal: the mean, or with Nesterov's
// momentum a mean of it and the gradient. b = β b + (1-β) g; w = of_gradient · g + of_mean · b
struct MuonDirection {
  static constexpr const char* name = "muon's direction";
  static constexpr int states = 1;
  enum Factor { beta, rest, of_gradient, of_mean, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    s[0] = mul_add(f[rest], g, mul(f[beta], s[0]));
    w = mul_add(f[of_gradient], g, mul(f[of_mean], s[0]));
  }
};
