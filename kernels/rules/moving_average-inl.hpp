// An exponential moving average s of a weight, beside its update: the weight w has been updated and stays as
// it is. s = decay · s + rest · w
struct MovingAverage {
  static constexpr const char* name = "moving average of weights";
  static constexpr int states = 1;
  static constexpr unsigned wide_states = 1;
  enum Factor { decay, rest, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V, V* s) {
    s[0] = mul_add(f[rest], w, mul(f[decay], s[0]));
  }
};
