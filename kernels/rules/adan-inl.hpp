// Adan (Xie et al., arXiv 2208.06677) as its authors implement it: their betas are 1 minus the paper's, and
// the means' bias is corrected. With d = g - (the last g), which is 0 at the first update:
//   m = β1 m + (1-β1) g;  v = β2 v + (1-β2) d;  n = β3 n + (1-β3) (g + β2 d)²
//   w = (w - lr·wd · w - (lr/(1-β1^t) · m + lr·β2/(1-β2^t) · v) / (sqrt(n)/sqrt(1-β3^t) + eps)) / (1 + lr·wd)
// with no_prox, of the two decays the first, else the second. The factors of both are small numbers that are
// subtracted: a factor near 1 would be rounded the same way in every step. The last state keeps -g, as theirs
// does.
struct Adan {
  static constexpr const char* name = "adan";
  static constexpr int states = 4;
  enum Factor {
    decay,
    shrinkage,
    beta1,
    rest1,
    beta2,
    rest2,
    beta3,
    rest3,
    rate,
    difference_rate,
    root_scale,
    eps,
    known,  // 0 at the first update, 1 later
    minus_one,
    factors
  };

  template <class V>
  COLLIE_FORMULA static void update(const V* f, V& w, V g, V* s) {
    const V difference = mul_add(f[known], g, s[3]);
    const V ahead = mul_add(f[beta2], difference, g);
    const V m = mul_add(f[rest1], g, mul(f[beta1], s[0]));
    const V n = mul_add(mul(f[rest3], ahead), ahead, mul(f[beta3], s[1]));
    const V v = mul_add(f[rest2], difference, mul(f[beta2], s[2]));
    const V denominator = mul_add(root(n), f[root_scale], f[eps]);
    const V decayed = neg_mul_add(f[decay], w, w);
    const V by_mean = neg_mul_add(f[rate], div(m, denominator), decayed);
    const V stepped = neg_mul_add(f[difference_rate], div(v, denominator), by_mean);
    w = neg_mul_add(f[shrinkage], stepped, stepped);
    s[0] = m;
    s[1] = n;
    s[2] = v;
    s[3] = mul(f[minus_one], g);
  }
};
