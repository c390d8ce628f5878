#include "kernels/cpu/attention_tiles.hpp"

namespace collie::cpu {

std::vector<Document> documents_of(const AttentionSpans& spans) {
  const int64_t window = spans.window > 0 ? spans.window : int64_t{1} << 32;
  std::vector<Document> documents;
  for (size_t i = 0; i + 1 < spans.query_starts.size(); ++i)
    documents.push_back({spans.query_starts[i], spans.query_starts[i + 1] - spans.query_starts[i],
                         spans.key_starts[i], spans.key_starts[i + 1] - spans.key_starts[i], spans.causal,
                         window, spans.queries_of_one_key(i)});
  return documents;
}

void multiply_tile(GemmForm form, int64_t m, int64_t n, int64_t k, const float* a, int64_t a_stride,
                   const float* b, int64_t b_stride, float* c, int64_t c_stride, bool accumulate) {
  blas().sgemm(CblasRowMajor, form == GemmForm::tn ? CblasTrans : CblasNoTrans,
               form == GemmForm::nt ? CblasTrans : CblasNoTrans, static_cast<int>(m), static_cast<int>(n),
               static_cast<int>(k), 1.0F, a, static_cast<int>(a_stride), b, static_cast<int>(b_stride),
               accumulate ? 1.0F : 0.0F, c, static_cast<int>(c_stride));
}

}  // namespace collie::cpu
