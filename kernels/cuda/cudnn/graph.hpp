// A graph of cuDNN's operations on four-dimensional tensors, and the plan that computes it
// (https://docs.nvidia.com/deeplearning/cudnn: graph API).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "kernels/cuda/cudnn/descriptor.hpp"

namespace collie::cuda {

// The device that a plan is made for: the device of a handle or, without a handle, a described one
// (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION).
struct CudnnTarget {
  cudnnHandle_t handle = nullptr;
  const CudnnDescriptor* device = nullptr;
};

// A way to compute a graph.
class CudnnPlan {
 public:
  int64_t workspace_bytes() const { return workspace_bytes_; }
  // Queues the plan on the handle's stream. `pointers` maps the numbers of the graph's named tensors to
  // device memory, or to host memory for values, which are read before it returns.
  void run(const Cudnn& library, cudnnHandle_t handle, const std::map<int64_t, void*>& pointers,
           void* workspace) const;

 private:
  friend class CudnnGraph;
  CudnnPlan(CudnnDescriptor configuration, CudnnDescriptor plan, int64_t workspace_bytes)
      : configuration_(std::move(configuration)), plan_(std::move(plan)), workspace_bytes_(workspace_bytes) {}
  CudnnDescriptor configuration_, plan_;
  int64_t workspace_bytes_;
};

class CudnnGraph {
 public:
  using Dims = std::array<int64_t, 4>;
  struct Node {  // a tensor of the graph
    const CudnnDescriptor* descriptor;
    Dims dims;
  };

  explicit CudnnGraph(const Cudnn& library) : library_(library) {}

  // Tensors that are given when the plan runs, each with its own `number` > 0. `offsets` says where the parts
  // of dimension 0 start (element of `starts`, times one), instead of dims[0] · strides[0].
  Node tensor(int64_t number, const Dims& dims, const Dims& strides, cudnnDataType_t type,
              std::optional<Node> offsets = {});
  Node value(int64_t number, cudnnDataType_t type);  // a number from the host

  // Operations. Their results are not stored, unless the result is a given tensor.
  Node pointwise(cudnnPointwiseMode_t mode, const Node& x, std::optional<Node> b, cudnnDataType_t type,
                 std::optional<Node> into = {});
  // x where `keep`, else `other`.
  Node select(const Node& x, const Node& other, const Node& keep);
  // The index along `axis` of every element of x.
  Node index(const Node& x, int64_t axis, cudnnDataType_t type, cudnnDataType_t computed_in);
  // Reduces over the axes along which the result has one element, or fewer heads.
  Node reduce(cudnnReduceTensorOp_t operation, const Node& x, const Dims& dims);
  void reduce_into(cudnnReduceTensorOp_t operation, const Node& x, const Node& y);
  // a [.., m, k] · b [.., k, n]. `limits` gives, for each part of dimension 0, the number of rows, columns or
  // terms that count.
  struct Limits {
    std::optional<Node> m, n, k;
  };
  Node product(const Node& a, const Node& b, const Limits& limits, bool pad);
  void product_into(const Node& a, const Node& b, const Limits& limits, const Node& c);
  // x seen with other dims and strides.
  Node reshape(const Node& x, const Dims& dims, const Dims& strides, cudnnDataType_t type,
               std::optional<Node> offsets = {});

  // Takes the first of the heuristics' proposals that can be made, so that the same graph always gets the
  // same plan. Throws std::runtime_error with cuDNN's reason if there is none.
  CudnnPlan plan(const CudnnTarget& target);

 private:
  Node add(int64_t number, const Dims& dims, const Dims& strides, cudnnDataType_t type, bool stored,
           bool by_value, std::optional<Node> offsets);
  Node intermediate(const Dims& dims, cudnnDataType_t type);
  CudnnDescriptor& operation(cudnnBackendDescriptorType_t type, const char* name);
  void pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t computed_in, std::optional<int64_t> axis,
                 const Node& x, std::optional<Node> b, std::optional<Node> t, const Node& y);
  std::vector<CudnnDescriptor> proposals(const CudnnDescriptor& graph, cudnnBackendHeurMode_t mode,
                                         const CudnnTarget& target, std::string& reason) const;
  void add_product(const Node& a, const Node& b, const Limits& limits, bool pad, const Node& c);

  const Cudnn& library_;
  std::deque<CudnnDescriptor> tensors_, kinds_;
  std::vector<CudnnDescriptor> operations_;
  int64_t next_number_ = int64_t{1} << 20;  // for tensors without a number of their own
};

}  // namespace collie::cuda
