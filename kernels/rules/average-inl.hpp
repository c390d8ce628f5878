// The weights that are evaluated in the place of those that are trained (WeightAverage). The trained ones
// stand in the gradient's place, so that they stay as they are: w = of_weight · g + of_state · s
struct Average {
  static constexpr const char* name = "average of weights";
  static constexpr int states = 1;
  static constexpr unsigned wide_states = 1;
  enum Factor { of_weight, of_state, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    w = mul_add(f[of_state], s[0], mul(f[of_weight], g));
  }
};
