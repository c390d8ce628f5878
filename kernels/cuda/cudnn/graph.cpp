#include "kernels/cuda/cudnn/graph.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace collie::cuda {

namespace {

CudnnGraph::Dims dense(const CudnnGraph::Dims& dims) {
  return {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1};
}

}  // namespace

void CudnnPlan::run(const Cudnn& library, cudnnHandle_t handle, const std::map<int64_t, void*>& pointers,
                    void* workspace) const {
  std::vector<int64_t> numbers;
  std::vector<void*> addresses;
  for (const auto& [number, address] : pointers) {
    numbers.push_back(number);
    addresses.push_back(address);
  }
  CudnnDescriptor pack(library, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "a plan's pointers");
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, numbers);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses);
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, std::span<void* const>(&workspace, 1));
  pack.finalize();
  library.check(library.execute(handle, plan_.native(), pack.native()), "running a plan");
}

CudnnGraph::Node CudnnGraph::add(int64_t number, const Dims& dims, const Dims& strides, cudnnDataType_t type,
                                 bool stored, bool by_value, std::optional<Node> offsets) {
  constexpr int64_t vector = 16, scalar = 4;  // bytes
  CudnnDescriptor& made = tensors_.emplace_back(library_, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "a tensor");
  made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, number);
  made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  made.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, by_value ? scalar : vector);
  made.set(CUDNN_ATTR_TENSOR_DIMENSIONS, dims);
  made.set(CUDNN_ATTR_TENSOR_STRIDES, strides);
  if (!stored) made.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
  if (by_value) made.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
  if (offsets) made.set(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, *offsets->descriptor);
  made.finalize();
  return {&made, dims};
}

CudnnGraph::Node CudnnGraph::tensor(int64_t number, const Dims& dims, const Dims& strides,
                                    cudnnDataType_t type, std::optional<Node> offsets) {
  return add(number, dims, strides, type, true, false, offsets);
}

CudnnGraph::Node CudnnGraph::value(int64_t number, cudnnDataType_t type) {
  return add(number, {1, 1, 1, 1}, {1, 1, 1, 1}, type, true, true, {});
}

CudnnGraph::Node CudnnGraph::intermediate(const Dims& dims, cudnnDataType_t type) {
  return add(next_number_++, dims, dense(dims), type, false, false, {});
}

CudnnDescriptor& CudnnGraph::operation(cudnnBackendDescriptorType_t type, const char* name) {
  return operations_.emplace_back(library_, type, name);
}

void CudnnGraph::pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t computed_in,
                           std::optional<int64_t> axis, const Node& x, std::optional<Node> b,
                           std::optional<Node> t, const Node& y) {
  CudnnDescriptor& kind =
      kinds_.emplace_back(library_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR, "a pointwise operation");
  kind.set(CUDNN_ATTR_POINTWISE_MODE, mode);
  kind.set(CUDNN_ATTR_POINTWISE_MATH_PREC, computed_in);
  if (axis) kind.set(CUDNN_ATTR_POINTWISE_AXIS, *axis);
  kind.finalize();
  CudnnDescriptor& made = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "a pointwise operation");
  made.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
  made.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *x.descriptor);
  if (b) made.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b->descriptor);
  if (t) made.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, *t->descriptor);
  made.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, *y.descriptor);
  made.finalize();
}

CudnnGraph::Node CudnnGraph::pointwise(cudnnPointwiseMode_t mode, const Node& x, std::optional<Node> b,
                                       cudnnDataType_t type, std::optional<Node> into) {
  const Node y = into ? *into : intermediate(x.dims, type);
  // Results that are stored with fewer digits are computed in float32.
  const bool exact = type == CUDNN_DATA_INT32 || type == CUDNN_DATA_BOOLEAN;
  pointwise(mode, exact ? type : CUDNN_DATA_FLOAT, {}, x, b, {}, y);
  return y;
}

CudnnGraph::Node CudnnGraph::select(const Node& x, const Node& other, const Node& keep) {
  const Node y = intermediate(x.dims, CUDNN_DATA_FLOAT);
  pointwise(CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, {}, x, other, keep, y);
  return y;
}

CudnnGraph::Node CudnnGraph::index(const Node& x, int64_t axis, cudnnDataType_t type,
                                   cudnnDataType_t computed_in) {
  const Node y = intermediate(x.dims, type);
  pointwise(CUDNN_POINTWISE_GEN_INDEX, computed_in, axis, x, {}, {}, y);
  return y;
}

CudnnGraph::Node CudnnGraph::reduce(cudnnReduceTensorOp_t operation, const Node& x, const Dims& dims) {
  const Node y = intermediate(dims, CUDNN_DATA_FLOAT);
  reduce_into(operation, x, y);
  return y;
}

void CudnnGraph::reduce_into(cudnnReduceTensorOp_t reduction, const Node& x, const Node& y) {
  CudnnDescriptor& kind = kinds_.emplace_back(library_, CUDNN_BACKEND_REDUCTION_DESCRIPTOR, "a reduction");
  kind.set(CUDNN_ATTR_REDUCTION_OPERATOR, reduction);
  kind.set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  kind.finalize();
  CudnnDescriptor& made = operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, "a reduction");
  made.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, *x.descriptor);
  made.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, *y.descriptor);
  made.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, kind);
  made.finalize();
}

void CudnnGraph::add_product(const Node& a, const Node& b, const Limits& limits, bool pad, const Node& c) {
  CudnnDescriptor& kind = kinds_.emplace_back(library_, CUDNN_BACKEND_MATMUL_DESCRIPTOR, "a product");
  kind.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  if (pad) kind.set(CUDNN_ATTR_MATMUL_PADDING_VALUE, 0.0);
  kind.finalize();
  CudnnDescriptor& made = operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, "a product");
  made.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, *a.descriptor);
  made.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, *b.descriptor);
  made.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, *c.descriptor);
  made.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, kind);
  if (limits.m) made.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, *limits.m->descriptor);
  if (limits.n) made.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, *limits.n->descriptor);
  if (limits.k) made.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, *limits.k->descriptor);
  made.finalize();
}

CudnnGraph::Node CudnnGraph::product(const Node& a, const Node& b, const Limits& limits, bool pad) {
  const Node c = intermediate({a.dims[0], a.dims[1], a.dims[2], b.dims[3]}, CUDNN_DATA_FLOAT);
  add_product(a, b, limits, pad, c);
  return c;
}

void CudnnGraph::product_into(const Node& a, const Node& b, const Limits& limits, const Node& c) {
  add_product(a, b, limits, false, c);
}

CudnnGraph::Node CudnnGraph::reshape(const Node& x, const Dims& dims, const Dims& strides,
                                     cudnnDataType_t type, std::optional<Node> offsets) {
  const Node y = add(next_number_++, dims, strides, type, false, false, offsets);
  CudnnDescriptor& made = operation(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "a reshape");
  made.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, *x.descriptor);
  made.set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, *y.descriptor);
  made.finalize();
  return y;
}

CudnnPlan CudnnGraph::plan(const CudnnTarget& target) {
  CudnnDescriptor graph(library_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "a graph");
  if (target.handle != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
  graph.finalize();
  std::string reason = "cuDNN: the heuristics propose nothing for the graph";
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (CudnnDescriptor& configuration : proposals(graph, mode, target, reason)) {
      try {
        CudnnDescriptor made(library_, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "a plan");
        if (target.handle != nullptr)
          made.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle);
        else
          made.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.device);
        made.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
        made.finalize();
        const int64_t workspace = made.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
        return {std::move(configuration), std::move(made), workspace};
      } catch (const std::runtime_error& refused) {
        reason = refused.what();
      }
    }
  }
  throw std::runtime_error(reason);
}

std::vector<CudnnDescriptor> CudnnGraph::proposals(const CudnnDescriptor& graph, cudnnBackendHeurMode_t mode,
                                                   const CudnnTarget& target, std::string& reason) const {
  try {
    CudnnDescriptor heuristics(library_, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "the heuristics");
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
    if (target.handle == nullptr) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.device);
    heuristics.finalize();
    return heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  } catch (const std::runtime_error& refused) {
    reason = refused.what();
    return {};
  }
}

}  // namespace collie::cuda
