#include "kernels/cuda/ops/matmul.hpp"

#include <cublasLt.h>
#include <fmt/format.h>

#include <bit>
#include <map>
#include <stdexcept>
#include <tuple>

#include "base/library.hpp"
#include "kernels/cuda/api.hpp"
#include "kernels/cuda/memory/workspaces.hpp"
#include "kernels/tensor.hpp"

namespace collie::cuda {

namespace {

// The functions of cuBLASLt that we use, under their own names.
struct CublasLt {
  CublasLt() : library("cuBLASLt", {"libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR), "libcublasLt.so"}) {
    library.find(create, "cublasLtCreate");
    library.find(destroy, "cublasLtDestroy");
    library.find(status_string, "cublasLtGetStatusString");
    library.find(operation_create, "cublasLtMatmulDescCreate");
    library.find(operation_destroy, "cublasLtMatmulDescDestroy");
    library.find(operation_set, "cublasLtMatmulDescSetAttribute");
    library.find(layout_create, "cublasLtMatrixLayoutCreate");
    library.find(layout_destroy, "cublasLtMatrixLayoutDestroy");
    library.find(preference_create, "cublasLtMatmulPreferenceCreate");
    library.find(preference_destroy, "cublasLtMatmulPreferenceDestroy");
    library.find(preference_set, "cublasLtMatmulPreferenceSetAttribute");
    library.find(heuristic, "cublasLtMatmulAlgoGetHeuristic");
    library.find(matmul, "cublasLtMatmul");
  }

  void check(cublasStatus_t status, const std::string& what) const {
    if (status != CUBLAS_STATUS_SUCCESS)
      throw std::runtime_error(fmt::format("cuBLASLt: {}: {}", what, status_string(status)));
  }

  Library library;
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetStatusString) status_string = nullptr;
  decltype(&cublasLtMatmulDescCreate) operation_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) operation_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) operation_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
};

const CublasLt& cublaslt() {
  static const CublasLt loaded;
  return loaded;
}

cudaDataType_t type_of(Element element) {
  return element == Element::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

// The largest power of two, at most 16, that divides the pointer and every row of the matrix, in bytes.
uint32_t alignment_of(const Matrix& x) {
  const auto row_bytes = static_cast<uint64_t>(x.stride) * (x.element == Element::bf16 ? 2 : 4);
  const uint64_t bits = reinterpret_cast<uintptr_t>(x.data) | row_bytes | 16;
  return 1U << std::countr_zero(bits);
}

// The key by which an algorithm is chosen.
using Key = std::tuple<ProductForm, Element, Element, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                       uint32_t, uint32_t, uint32_t, bool, bool>;

Key key_of(ProductForm form, const Matrix& a, const Matrix& b, const Matrix& c, bool accumulate,
           const void* bias) {
  return {form,
          a.element,
          c.element,
          c.rows,
          c.width,
          form == ProductForm::tn ? a.rows : a.width,
          a.stride,
          b.stride,
          c.stride,
          alignment_of(a),
          alignment_of(b),
          alignment_of(c),
          accumulate,
          bias != nullptr};
}

// One product's description. cuBLASLt's matrices are column-major, so ours are their transposes: Cᵀ = Bᵀ ·
// Aᵀ.
class Product {
 public:
  Product(const CublasLt& library, cublasLtHandle_t handle, ProductForm form, const Matrix& a,
          const Matrix& b, const Matrix& c, const void* bias)
      : lt_(library) {
    lt_.check(lt_.operation_create(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describing a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, form == ProductForm::nt ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, form == ProductForm::tn ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (bias != nullptr) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(c.element));
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    b_ = layout(b);
    a_ = layout(a);
    c_ = layout(c);
    choose(handle, form, a, b, c);
  }
  ~Product() {
    for (const cublasLtMatrixLayout_t each : {a_, b_, c_})
      if (each != nullptr) lt_.layout_destroy(each);
    if (operation_ != nullptr) lt_.operation_destroy(operation_);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void run(cublasLtHandle_t handle, const Matrix& a, const Matrix& b, const Matrix& c, bool accumulate,
           const void* bias, void* workspace, cudaStream_t stream) {
    if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const float one = 1, beta = accumulate ? 1 : 0;
    lt_.check(lt_.matmul(handle, operation_, &one, b.data, b_, a.data, a_, &beta, c.data, c_, c.data, c_,
                         &algorithm_, workspace, matmul_workspace_bytes, stream),
              "a product");
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    lt_.check(lt_.operation_set(operation_, attribute, &value, sizeof value), "describing a product");
  }

  cublasLtMatrixLayout_t layout(const Matrix& x) const {
    cublasLtMatrixLayout_t made = nullptr;
    lt_.check(lt_.layout_create(&made, type_of(x.element), static_cast<uint64_t>(x.width),
                                static_cast<uint64_t>(x.rows), x.rows > 1 ? x.stride : x.width),
              "describing a matrix");
    return made;
  }

  // Takes the heuristics' first choice, so that the same shapes always get the same algorithm.
  void choose(cublasLtHandle_t handle, ProductForm form, const Matrix& a, const Matrix& b, const Matrix& c) {
    cublasLtMatmulPreference_t preference = nullptr;
    lt_.check(lt_.preference_create(&preference), "choosing an algorithm");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      lt_.check(lt_.preference_set(preference, attribute, &value, sizeof value), "choosing an algorithm");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(matmul_workspace_bytes));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(c));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(c));
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    const cublasStatus_t status =
        lt_.heuristic(handle, operation_, b_, a_, c_, c_, preference, 1, &result, &found);
    lt_.preference_destroy(preference);
    if (status != CUBLAS_STATUS_SUCCESS || found == 0)
      throw std::runtime_error(fmt::format(
          "cuBLASLt has no algorithm for C[{}, {}] with A[{}, {}], B[{}, {}], form {}: {}", c.rows, c.width,
          a.rows, a.width, b.rows, b.width, static_cast<int>(form), lt_.status_string(status)));
    algorithm_ = result.algo;
  }

  const CublasLt& lt_;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatrixLayout_t a_ = nullptr, b_ = nullptr, c_ = nullptr;
  cublasLtMatmulAlgo_t algorithm_{};
};

class CublasLtMatmul final : public Matmul {
 public:
  CublasLtMatmul(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
                 std::shared_ptr<MemoryAccount> account)
      : lt_(cublaslt()), stream_(std::move(stream)) {
    lt_.check(lt_.create(&handle_), "starting");
    workspace_ = Tensor::on(std::move(memory), {matmul_workspace_bytes / 4}, DType::f32, std::move(account),
                            Category::workspace);
  }
  ~CublasLtMatmul() override {
    products_.clear();
    lt_.destroy(handle_);
  }

  void run(ProductForm form, const Matrix& a, const Matrix& b, const Matrix& c, bool accumulate,
           const void* bias) override {
    auto& product = products_[key_of(form, a, b, c, accumulate, bias)];
    if (!product) product = std::make_unique<Product>(lt_, handle_, form, a, b, c, bias);
    product->run(handle_, a, b, c, accumulate, bias, workspace_.raw(), stream_->native());
  }

 private:
  const CublasLt& lt_;
  std::shared_ptr<Stream> stream_;
  cublasLtHandle_t handle_ = nullptr;
  Tensor workspace_;
  std::map<Key, std::unique_ptr<Product>> products_;
};

}  // namespace

std::unique_ptr<Matmul> make_matmul(std::shared_ptr<Stream> stream, std::shared_ptr<MemorySource> memory,
                                    std::shared_ptr<MemoryAccount> account) {
  return std::make_unique<CublasLtMatmul>(std::move(stream), std::move(memory), std::move(account));
}

}  // namespace collie::cuda
