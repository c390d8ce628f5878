// Products of the emulated device: plain loops on its stream, in place of cuBLASLt.
#include "kernels/cuda/ops/matmul.hpp"

#include "kernels/cuda/api.hpp"
#include "kernels/cuda/bfloat16.hpp"
#include "kernels/cuda/memory/workspaces.hpp"
#include "kernels/tensor.hpp"

namespace collie::cuda {

namespace {

float element(const Matrix& x, int64_t row, int64_t column) {
  const int64_t index = row * x.stride + column;
  return x.element == Element::bf16 ? to_float(static_cast<const bfloat16*>(x.data)[index])
                                    : static_cast<const float*>(x.data)[index];
}

void put(const Matrix& x, int64_t row, int64_t column, float value) {
  const int64_t index = row * x.stride + column;
  if (x.element == Element::bf16)
    static_cast<bfloat16*>(x.data)[index] = from_float<bfloat16>(value);
  else
    static_cast<float*>(x.data)[index] = value;
}

void multiply(ProductForm form, const Matrix& a, const Matrix& b, const Matrix& c, bool accumulate,
              const Matrix* bias) {
  const int64_t k = form == ProductForm::tn ? a.rows : a.width;
  for (int64_t i = 0; i < c.rows; ++i)
    for (int64_t j = 0; j < c.width; ++j) {
      double sum = accumulate ? static_cast<double>(element(c, i, j)) : 0;
      if (bias != nullptr) sum = static_cast<double>(element(*bias, 0, j));
      for (int64_t l = 0; l < k; ++l) {
        const float left = form == ProductForm::tn ? element(a, l, i) : element(a, i, l);
        const float right = form == ProductForm::nt ? element(b, j, l) : element(b, l, j);
        sum += static_cast<double>(left) * static_cast<double>(right);
      }
      put(c, i, j, static_cast<float>(sum));
    }
}

class LoopMatmul final : public Matmul {
 public:
  LoopMatmul(std::shared_ptr<Stream> stream, Tensor workspace)
      : stream_(std::move(stream)), workspace_(std::move(workspace)) {}
  void run(ProductForm form, const Matrix& a, const Matrix& b, const Matrix& c, bool accumulate,
           const void* bias) override {
    const Matrix row{const_cast<void*>(bias), c.element, 1, c.width, c.width};
    const auto product = [=] { multiply(form, a, b, c, accumulate, row.data != nullptr ? &row : nullptr); };
    check(emulation::enqueue(stream_->native(), product), "a product");
  }

 private:
  std::shared_ptr<Stream> stream_;
  Tensor workspace_;  // held for the account: it is cuBLASLt's that is emulated
};

}  // namespace

std::unique_ptr<Matmul> make_matmul(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
                                    std::shared_ptr<MemoryAccount> account) {
  Tensor workspace = Tensor::on(std::move(memory), {matmul_workspace_bytes / 4}, DType::f32,
                                std::move(account), Category::workspace);
  return std::make_unique<LoopMatmul>(std::move(stream), std::move(workspace));
}

}  // namespace collie::cuda
