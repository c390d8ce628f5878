// Products of bfloat16 matrices on one thread, summed in float32.
#pragma once

#include "kernels/cpu/elements.hpp"
#include "kernels/operations.hpp"

namespace collie::cpu {

// C[m, n] = A · B (+ C). Strides are those of rows, in elements. If C is bfloat16, it is rounded once.
struct Bfloat16Product {
  GemmForm form;
  int64_t m, n, k;
  const bfloat16* a;
  int64_t a_stride;
  const bfloat16* b;
  int64_t b_stride;
  Elements c;
  int64_t c_stride;
  bool accumulate;
};

void multiply_bfloat16(const Bfloat16Product& product);

// Which way is taken. The bits differ between the two, as they do between processors.
enum class Bfloat16Products {
  native,      // oneDNN, for processors with avx512_bf16 or AMX
  from_floats  // blocks are converted to floats and multiplied by OpenBLAS
};

// The way of this process: COLLIE_ENGINE_BFLOAT16_PRODUCTS, "native" or "from_floats", if it is set; else
// native if the processor can. Throws UserError if the variable is something else, or if native products are
// asked for and the processor has none.
Bfloat16Products bfloat16_products();
// Says whether this processor multiplies bfloat16 numbers.
bool has_native_products();
// Makes every product go this way from now on (tests). Not thread-safe.
void use_bfloat16_products(Bfloat16Products way);

}  // namespace collie::cpu
