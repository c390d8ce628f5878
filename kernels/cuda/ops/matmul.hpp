// Products of matrices by cuBLASLt, its algorithms chosen once a shape.
#pragma once

#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/cuda/views.hpp"
#include "kernels/memory.hpp"

namespace collie::cuda {

enum class ProductForm { nn, nt, tn };  // as GemmForm

class Matmul {
 public:
  virtual ~Matmul() = default;
  // c [m, n] = or += a · b, transposed as `form` says; float32 products have float32's own precision. c may
  // be float32 where a and b are bfloat16; sums are always float32.
  // bias [n]: where not null, of c's element type, added to every row before the sum is rounded; not with
  // accumulate.
  virtual void run(ProductForm form, const Matrix& a, const Matrix& b, const Matrix& c, bool accumulate,
                   const void* bias) = 0;
};

// Its workspace is charged to `account`. Throws std::runtime_error where cuBLASLt cannot be loaded.
std::unique_ptr<Matmul> make_matmul(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
                                    std::shared_ptr<MemoryAccount> account);

}  // namespace collie::cuda
