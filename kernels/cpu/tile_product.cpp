#include "kernels/cpu/tile_product.hpp"

#include "kernels/cpu/blas.hpp"

namespace collie::cpu {

void multiply_tile(GemmForm form, int64_t m, int64_t n, int64_t k, const float* a, int64_t a_stride,
                   const float* b, int64_t b_stride, float* c, int64_t c_stride, bool accumulate) {
  blas().sgemm(CblasRowMajor, form == GemmForm::tn ? CblasTrans : CblasNoTrans,
               form == GemmForm::nt ? CblasTrans : CblasNoTrans, static_cast<int>(m), static_cast<int>(n),
               static_cast<int>(k), 1.0F, a, static_cast<int>(a_stride), b, static_cast<int>(b_stride),
               accumulate ? 1.0F : 0.0F, c, static_cast<int>(c_stride));
}

}  // namespace collie::cpu
