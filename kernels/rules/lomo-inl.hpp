// A step along the gradient with decoupled decay, as LOMO has it (Lv et al., arXiv 2306.09782):
// w = (1 - lr·wd) w - rate · g
struct Lomo {
  static constexpr const char* name = "lomo";
  static constexpr int states = 0;
  enum Factor { decay, rate, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V*) {
    w = neg_mul_add(f[rate], g, mul(w, f[decay]));
  }
};
