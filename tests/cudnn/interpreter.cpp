#include "tests/cudnn/interpreter.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "kernels/cuda/cudnn/attention_graph.hpp"
#include "kernels/host_data.hpp"

namespace collie::test {

namespace {

using stand_in::Description;
namespace id = cuda::cudnn_tensor;
using Place = std::array<int64_t, 4>;

class Interpreter {
 public:
  Interpreter(const std::map<int64_t, void*>& given, int64_t group) : given_(given), group_(group) {}

  void run(const Description& operation) {
    switch (operation.type) {
      case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
        return pointwise(operation);
      case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
        return reduce(operation);
      case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
        return multiply(operation);
      case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
        return reshape(operation);
      default:
        throw std::runtime_error("an operation that is not known here");
    }
  }

 private:
  using Dense = std::vector<double>;

  static int64_t number(const Description& x) { return x.get<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)[0]; }
  static std::vector<int64_t> dims(const Description& x) {
    return x.get<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  }
  static cudnnDataType_t type(const Description& x) {
    return x.get<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)[0];
  }
  static size_t at(const std::vector<int64_t>& size, const Place& p) {
    return static_cast<size_t>(((p[0] * size[1] + p[1]) * size[2] + p[2]) * size[3] + p[3]);
  }
  template <class F>
  static void for_each(const std::vector<int64_t>& size, F f) {
    for (int64_t b = 0; b < size[0]; ++b)
      for (int64_t h = 0; h < size[1]; ++h)
        for (int64_t r = 0; r < size[2]; ++r)
          for (int64_t c = 0; c < size[3]; ++c) f(Place{b, h, r, c});
  }

  // Elements from the start of a stored tensor; -1 behind the document's last row.
  int64_t place(const Description& x, const Place& p) const {
    const auto strides = x.get<int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    const int64_t inside = p[1] * strides[1] + p[2] * strides[2] + p[3] * strides[3];
    const Description* const ragged = x.child(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC);
    if (ragged == nullptr) return p[0] * strides[0] + inside;
    const auto* const offsets = static_cast<const int32_t*>(given_.at(number(*ragged))) + p[0];
    const bool all_heads = number(x) == id::dk_of_all_heads || number(x) == id::dv_of_all_heads;
    const int64_t times = all_heads ? group_ : 1;
    return inside < (offsets[1] - offsets[0]) * times ? offsets[0] * times + inside : -1;
  }

  double load(const Description& x, const Place& p) const {
    const int64_t element = place(x, p);
    if (element < 0) return std::numeric_limits<double>::quiet_NaN();
    const void* const data = given_.at(number(x));
    switch (type(x)) {
      case CUDNN_DATA_BFLOAT16:
        return host::from_bf16(static_cast<const uint16_t*>(data)[element]);
      case CUDNN_DATA_FLOAT:
        return static_cast<const float*>(data)[element];
      case CUDNN_DATA_INT32:
        return static_cast<const int32_t*>(data)[element];
      default:
        throw std::runtime_error("a type that is not known here");
    }
  }

  const Dense& values(const Description& x) {
    const auto [found, is_new] = values_.try_emplace(number(x));
    if (is_new) {
      found->second.resize(elements(x));
      for_each(dims(x), [&](const Place& p) { found->second[at(dims(x), p)] = load(x, p); });
    }
    return found->second;
  }
  static size_t elements(const Description& x) {
    size_t count = 1;
    for (const int64_t size : dims(x)) count *= static_cast<size_t>(size);
    return count;
  }
  // With one element, or fewer heads, along axes that are shared.
  double value(const Description& x, Place p, int64_t heads) {
    const auto size = dims(x);
    p[1] = p[1] * size[1] / heads;
    for (size_t axis : {0U, 2U, 3U})
      if (size[axis] == 1) p[axis] = 0;
    return values(x)[at(size, p)];
  }

  void keep(const Description& x, Dense made) {
    if (!x.has(CUDNN_ATTR_TENSOR_IS_VIRTUAL)) {
      void* const data = given_.at(number(x));
      for_each(dims(x), [&](const Place& p) {
        const int64_t element = place(x, p);
        if (element < 0) return;
        const auto number = static_cast<float>(made[at(dims(x), p)]);
        if (type(x) == CUDNN_DATA_BFLOAT16)
          static_cast<uint16_t*>(data)[element] = host::to_bf16(number);
        else
          static_cast<float*>(data)[element] = number;
      });
    }
    values_[number(x)] = std::move(made);
  }

  static double result(cudnnPointwiseMode_t mode, double x, double b) {
    switch (mode) {
      case CUDNN_POINTWISE_ADD:
        return x + b;
      case CUDNN_POINTWISE_SUB:
        return x - b;
      case CUDNN_POINTWISE_MUL:
        return x * b;
      case CUDNN_POINTWISE_DIV:
        return x / b;
      case CUDNN_POINTWISE_EXP:
        return std::exp(x);
      case CUDNN_POINTWISE_LOG:
        return std::log(x);
      case CUDNN_POINTWISE_IDENTITY:
        return x;
      case CUDNN_POINTWISE_CMP_LT:
        return x < b;
      case CUDNN_POINTWISE_CMP_GE:
        return x >= b;
      case CUDNN_POINTWISE_CMP_GT:
        return x > b;
      case CUDNN_POINTWISE_LOGICAL_AND:
        return x != 0 && b != 0;
      default:
        throw std::runtime_error("a pointwise operation that is not known here");
    }
  }

  void pointwise(const Description& operation) {
    const Description& kind = *operation.child(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const Description &x = *operation.child(CUDNN_ATTR_OPERATION_POINTWISE_XDESC),
                      &y = *operation.child(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
    const Description *const b = operation.child(CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
                             *const t = operation.child(CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
    const auto mode = kind.get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE)[0];
    const auto size = dims(y);
    Dense made(elements(y));
    for_each(size, [&](const Place& p) {
      double& element = made[at(size, p)];
      if (mode == CUDNN_POINTWISE_GEN_INDEX)
        element =
            static_cast<double>(p[static_cast<size_t>(kind.get<int64_t>(CUDNN_ATTR_POINTWISE_AXIS)[0])]);
      else if (mode == CUDNN_POINTWISE_BINARY_SELECT)
        element = value(*t, p, size[1]) != 0 ? value(x, p, size[1]) : value(*b, p, size[1]);
      else
        element = result(mode, value(x, p, size[1]), b != nullptr ? value(*b, p, size[1]) : 0);
    });
    keep(y, std::move(made));
  }

  void reduce(const Description& operation) {
    const Description &x = *operation.child(CUDNN_ATTR_OPERATION_REDUCTION_XDESC),
                      &y = *operation.child(CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
    const bool largest =
        operation.child(CUDNN_ATTR_OPERATION_REDUCTION_DESC)
            ->get<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR)[0] == CUDNN_REDUCE_TENSOR_MAX;
    const auto from = dims(x), to = dims(y);
    Dense made(elements(y), largest ? -std::numeric_limits<double>::infinity() : 0);
    for_each(from, [&](const Place& p) {
      Place into = p;
      into[1] = p[1] * to[1] / from[1];
      for (size_t axis : {0U, 2U, 3U})
        if (to[axis] == 1) into[axis] = 0;
      double& sum = made[at(to, into)];
      const double element = values(x)[at(from, p)];
      sum = largest ? std::max(sum, element) : sum + element;
    });
    keep(y, std::move(made));
  }

  int64_t limit(const Description* lengths, int64_t document, int64_t size) {
    return lengths == nullptr ? size : static_cast<int64_t>(value(*lengths, {document, 0, 0, 0}, 1));
  }

  void multiply(const Description& operation) {
    const Description &a = *operation.child(CUDNN_ATTR_OPERATION_MATMUL_ADESC),
                      &b = *operation.child(CUDNN_ATTR_OPERATION_MATMUL_BDESC),
                      &c = *operation.child(CUDNN_ATTR_OPERATION_MATMUL_CDESC);
    const auto size = dims(c);
    Dense made(elements(c), 0);
    for_each(size, [&](const Place& p) {
      const auto of = [&](cudnnBackendAttributeName_t name, int64_t whole) {
        return limit(operation.child(name), p[0], whole);
      };
      if (p[2] >= of(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, size[2]) ||
          p[3] >= of(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, size[3]))
        return;
      const int64_t terms = of(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, dims(a)[3]);
      double& sum = made[at(size, p)];
      for (int64_t k = 0; k < terms; ++k)
        sum += value(a, {p[0], p[1], p[2], k}, size[1]) * value(b, {p[0], p[1], k, p[3]}, size[1]);
    });
    keep(c, std::move(made));
  }

  // Of x, whose rows and columns y has exchanged.
  void reshape(const Description& operation) {
    const Description &x = *operation.child(CUDNN_ATTR_OPERATION_RESHAPE_XDESC),
                      &y = *operation.child(CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
    const auto from = dims(x), to = dims(y);
    if (from[2] != to[3] || from[3] != to[2]) throw std::runtime_error("a reshape that is no transposition");
    Dense made(elements(y));
    for_each(to, [&](const Place& p) { made[at(to, p)] = values(x)[at(from, {p[0], p[1], p[3], p[2]})]; });
    keep(y, std::move(made));
  }

  const std::map<int64_t, void*>& given_;
  int64_t group_;
  std::map<int64_t, Dense> values_;
};

}  // namespace

void interpret(const Description& graph, const std::map<int64_t, void*>& given, int64_t group) {
  Interpreter interpreter(given, group);
  for (const auto& operation : graph.children.at(CUDNN_ATTR_OPERATIONGRAPH_OPS)) interpreter.run(*operation);
}

}  // namespace collie::test
