// A stream as the floors above see it.
#pragma once

#include <memory>

#include "kernels/cuda/stream.hpp"
#include "kernels/device_queue.hpp"

namespace collie::cuda {

std::shared_ptr<DeviceQueue> device_queue(std::shared_ptr<Stream> stream);

}  // namespace collie::cuda
