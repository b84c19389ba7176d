. /scripts/tree.sh
take libcudnn9-dev-cuda-12_9.5.1.17-1_amd64.deb /usr/include/x86_64-linux-gnu 'usr/include/*-linux-gnu/cudnn*_v9.h'
link /usr/include/x86_64-linux-gnu/cudnn.h cudnn_v9.h
link /usr/include/x86_64-linux-gnu/cudnn_adv.h cudnn_adv_v9.h
link /usr/include/x86_64-linux-gnu/cudnn_backend.h cudnn_backend_v9.h
link /usr/include/x86_64-linux-gnu/cudnn_cnn.h cudnn_cnn_v9.h
link /usr/include/x86_64-linux-gnu/cudnn_graph.h cudnn_graph_v9.h
link /usr/include/x86_64-linux-gnu/cudnn_ops.h cudnn_ops_v9.h
link /usr/include/x86_64-linux-gnu/cudnn_version.h cudnn_version_v9.h
link /usr/lib/x86_64-linux-gnu/libcudnn.so libcudnn.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_adv.so libcudnn_adv.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_cnn.so libcudnn_cnn.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_engines_precompiled.so libcudnn_engines_precompiled.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_engines_runtime_compiled.so libcudnn_engines_runtime_compiled.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_graph.so libcudnn_graph.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_heuristic.so libcudnn_heuristic.so.9
link /usr/lib/x86_64-linux-gnu/libcudnn_ops.so libcudnn_ops.so.9
finish
