// How much the loss depends on an element (AdaLoRA: Zhang et al., arXiv 2303.10512, equations 8 to 10),
// beside an update: the weight w has been updated, stays as it is, and g is the gradient of that update. With
// the sensitivity I = |w g|, the importance is m = β1 m + (1-β1) I, and its uncertainty u = β2 u + (1-β2) |I
// - m|.
struct Importance {
  static constexpr const char* name = "importance";
  static constexpr int states = 2;
  static constexpr unsigned wide_states = 3;
  enum Factor { beta1, rest1, beta2, rest2, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    const V product = mul(w, g), sensitivity = mul(product, sign(product));
    s[0] = mul_add(f[rest1], sensitivity, mul(f[beta1], s[0]));
    const V off = sub(sensitivity, s[0]);
    s[1] = mul_add(f[rest2], mul(off, sign(off)), mul(f[beta2], s[1]));
  }
};

// An element of what is kept or lost: the mask, 1 or 0, stands in the gradient's place.
struct Kept {
  static constexpr const char* name = "kept";
  static constexpr int states = 0;
  enum Factor { none, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V*, V& w, V g, V*) {
    w = mul(w, g);
  }
};

// The root of an element's score m u, in the place of the weight; m stands in the gradient's place. Sums of
// squares of such roots are sums of scores.
struct ImportanceRoot {
  static constexpr const char* name = "root of importance";
  static constexpr int states = 1;
  static constexpr unsigned wide_states = 1;
  enum Factor { none, factors };

  template <class V>
  COLLIE_FORMULA static void update(const V*, V& w, V g, V* s) {
    w = root(mul(g, s[0]));
  }
};
