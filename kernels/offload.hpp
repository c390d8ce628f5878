// Tensors that wait on the host until they are needed again, so that the device has room for other tensors
// (Operations::offload; Rhu et al., arXiv 1602.08124).
#pragma once

#include <memory>
#include <vector>

#include "kernels/tensor.hpp"

namespace collie {

class Operations;

// It must be destroyed before the operation table that made it. It is not thread-safe.
class Offloaded {
 public:
  virtual ~Offloaded() = default;
  // Begins to bring the tensors back, concurrently with work that is queued from now on. Call it at most
  // once.
  virtual void fetch() = 0;
  // Returns the tensors, for work that is queued from now on, and fetches them if nobody has. Call it once.
  virtual std::vector<Tensor> take() = 0;
};

// For tables that use the host's memory: the tensors stay where they are.
std::unique_ptr<Offloaded> offload_nowhere(std::vector<Tensor> tensors);

// Copies between a device and the host, concurrent with the rank's queue of work.
class HostCopies {
 public:
  // The host's side of the copied tensors.
  class Copy {
   public:
    virtual ~Copy() = default;
  };
  virtual ~HostCopies() = default;
  // Begins to copy the tensors out, after the work that is queued on them. They must be contiguous; undefined
  // ones are left out.
  virtual std::shared_ptr<Copy> begin_out(const std::vector<Tensor>& tensors) = 0;
  // Begins to copy the data back into `tensors`, after the work that is queued on these. The list must match
  // the one given to begin_out().
  virtual void begin_back(Copy& copy, const std::vector<Tensor>& tensors) = 0;
  // Work that is queued from now on comes after the copy that was begun last.
  virtual void wait(Copy& copy) = 0;
};

// The device's memory is freed once the copies are done, at the next offload(). So the tensors of at most two
// calls are on their way out, and copying has the time between two calls.
class Offloader {
 public:
  Offloader(Operations& operations, std::unique_ptr<HostCopies> copies);
  ~Offloader();
  std::unique_ptr<Offloaded> offload(std::vector<Tensor> tensors);

 private:
  class Group;
  Operations& operations_;
  std::unique_ptr<HostCopies> copies_;
  Group* leaving_ = nullptr;  // the last one offloaded, unless it was already fetched back
};

}  // namespace collie
