// Matrix products by cuBLASLt, whose algorithm is chosen once per shape.
#pragma once

#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/cuda/views.hpp"
#include "kernels/memory.hpp"

namespace collie::cuda {

enum class ProductForm { nn, nt, tn };  // the forms of GemmForm

class Matmul {
 public:
  virtual ~Matmul() = default;
  // c [m, n] = or += a · b, transposed as `form` says. float32 products have float32's own precision. c may
  // be float32 if a and b are bfloat16. Sums are always float32.
  // bias [n], if not null, has c's element type and is added to every row before the sum is rounded. It is
  // not allowed with accumulate.
  virtual void run(ProductForm form, const Matrix& a, const Matrix& b, const Matrix& c, bool accumulate,
                   const void* bias) = 0;
};

// Its workspace is charged to `account`. Throws std::runtime_error if cuBLASLt cannot be loaded.
std::unique_ptr<Matmul> make_matmul(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
                                    std::shared_ptr<MemoryAccount> account);

}  // namespace collie::cuda
