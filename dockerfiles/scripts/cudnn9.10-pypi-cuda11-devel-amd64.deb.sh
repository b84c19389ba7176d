. /scripts/tree.sh
take nvidia_cudnn_cu11-9.10.2.21-py3-none-manylinux_2_27_x86_64.whl \
  /usr/include/x86_64-linux-gnu 'nvidia/cudnn/include/cudnn*.h'
link /usr/lib/x86_64-linux-gnu/libcudnn.so libcudnn.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_adv.so libcudnn_adv.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_cnn.so libcudnn_cnn.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_engines_precompiled.so libcudnn_engines_precompiled.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_engines_runtime_compiled.so libcudnn_engines_runtime_compiled.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_graph.so libcudnn_graph.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_heuristic.so libcudnn_heuristic.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_ops.so libcudnn_ops.so.9
finish
