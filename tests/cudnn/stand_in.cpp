#include "tests/cudnn/stand_in.hpp"

namespace collie::test::stand_in {

namespace {

Description& description(void* at) {
  return *static_cast<Description*>(at);
}

size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    default:
      return 4;
  }
}

cudnnStatus_t create_descriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* made) {
  *made = new Description{type, {}, {}};
  asked().alive.insert(*made);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t destroy_descriptor(cudnnBackendDescriptor_t at) {
  asked().alive.erase(at);
  delete &description(at);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t set_attribute(cudnnBackendDescriptor_t at, cudnnBackendAttributeName_t name,
                            cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  const char* const bytes = static_cast<const char*>(values);
  description(at).attributes[name] = {bytes, bytes + static_cast<size_t>(count) * size_of(type)};
  if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR) return CUDNN_STATUS_SUCCESS;
  auto& children = description(at).children[name];
  for (void* child : description(at).get<void*>(name))
    children.push_back(std::make_shared<const Description>(description(child)));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t get_attribute(cudnnBackendDescriptor_t at, cudnnBackendAttributeName_t name,
                            cudnnBackendAttributeType_t, int64_t wanted, int64_t* count, void* values) {
  *count = 1;
  if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) *static_cast<int64_t*>(values) = 256;
  // The one configuration that is proposed, and of what it is one.
  if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS && wanted > 0)
    description(*static_cast<void**>(values)).children = description(at).children;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t finalize(cudnnBackendDescriptor_t at) {
  const Description& made = description(at);
  if (made.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR && !made.has(CUDNN_ATTR_TENSOR_IS_VIRTUAL))
    asked().tensors.insert(made.get<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)[0]);
  if (made.type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) return CUDNN_STATUS_SUCCESS;
  ++asked().plans;
  return asked().refuses ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t execute(cudnnHandle_t, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  const auto numbers = description(pack).get<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = description(pack).get<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  asked().given.clear();
  for (size_t i = 0; i < numbers.size(); ++i) asked().given[numbers[i]] = pointers[i];
  asked().when_run(*description(plan)
                        .child(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)
                        ->child(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

Asked& asked() {
  static Asked state;
  return state;
}

const cuda::Cudnn& table() {
  static const cuda::Cudnn functions{[] { return size_t{91900}; },
                                     [](cudnnStatus_t) { return "an error"; },
                                     [](char* text, size_t) { std::strcpy(text, "no engine"); },
                                     [](cudnnHandle_t* made) {
                                       *made = reinterpret_cast<cudnnHandle_t>(&asked());
                                       return CUDNN_STATUS_SUCCESS;
                                     },
                                     [](cudnnHandle_t) { return CUDNN_STATUS_SUCCESS; },
                                     [](cudnnHandle_t, cudaStream_t stream) {
                                       asked().stream = stream;
                                       return CUDNN_STATUS_SUCCESS;
                                     },
                                     create_descriptor,
                                     destroy_descriptor,
                                     set_attribute,
                                     get_attribute,
                                     finalize,
                                     execute};
  return functions;
}

}  // namespace collie::test::stand_in
